"""self_trained: the network that `mcdist proposals self-train` wrote, as a method."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F

from mcdist.errors import ConfigError
from mcdist.proposals.components import AREA_MIN_SHARE, objects_of
from mcdist.proposals.fingerprint import fingerprint
from mcdist.proposals.proposal import Method, Pixels, Proposal
from mcdist.proposals.self_training.saliency_net import SaliencyNet, load_net, predict
from mcdist.proposals.self_training.teacher import squared


@dataclass(slots=True)
class SelfTrained(Method):
    """Photos go through one at a time: a batch's sums are taken in another order, and a continued run would differ in a bit here and there."""

    network: SaliencyNet | None = field(default=None, repr=False)
    size_px: int = 256
    threshold: float = 0.5
    split: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def propose(self, photo: Pixels, *, name: str) -> Proposal:
        """The map's foreground is what is above the threshold, cleaned as in the paper."""
        assert self.network is not None
        map_1hw = predict(self.network, self.network.levels(squared(photo, size_px=self.size_px)[None].to(self.device)))
        saliency = F.interpolate(map_1hw[None], size=photo.shape[:2], mode="bilinear", align_corners=False)[0, 0].cpu().numpy()
        return Proposal(objects_of(saliency > self.threshold, split=self.split, area_min_share=AREA_MIN_SHARE), confidence=saliency)


def make(*, device: str = "cpu", network: str = "", threshold: float = 0.5, split: bool = False) -> SelfTrained:
    """`network`: a network.safetensors of self-training."""
    if not network:
        raise ConfigError("the proposal method self_trained needs the network that mcdist proposals self-train wrote; name it with --option network=PATH")
    if not 0 <= threshold <= 1:
        raise ConfigError(f"self_trained: threshold must be in 0..1, got {threshold:g}")
    loaded, facts = load_net(Path(network))
    chosen = torch.device(device)
    size_px = int(str(facts["size_px"]))
    parameters = {"network": fingerprint(Path(network)), **{key: facts[key] for key in sorted(facts)}, "threshold": threshold, "split": split}
    return SelfTrained("self_trained", "1", parameters, network=loaded.to(chosen), size_px=size_px, threshold=threshold, split=split, device=chosen)
