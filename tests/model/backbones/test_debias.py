"""What is known of the place alone is taken from the features, and what the photo shows stays."""

import pytest
import torch

from mcdist.choices import PositionDebias
from mcdist.errors import ConfigError
from mcdist.model.backbones.debias import MeanDebias, SubspaceDebias, add_debias, positions_of
from mcdist.model.backbones.registry import make_backbone
from tests.model.backbones.tiny_vits import tiny_vit

KINDS: list[PositionDebias] = ["mean", "svd"]


def with_places() -> torch.Tensor:
    """A smooth pattern of the place, [C, h, w]: a ramp along each side, in directions of their own."""
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    first, second = torch.randn(2, 32, 1, 1)
    return first * rows + second * columns


@pytest.mark.parametrize("debias", [MeanDebias(32), SubspaceDebias(32)], ids=KINDS)
def test_a_pattern_of_the_place_disappears_at_every_size(debias: MeanDebias | SubspaceDebias) -> None:
    pattern = with_places()
    debias.fit(pattern + 3.0)
    larger = torch.nn.functional.interpolate(pattern[None], (20, 28), mode="bilinear", align_corners=False)
    left = debias(larger)
    assert float(left.var(dim=(2, 3)).sum() / larger.var(dim=(2, 3)).sum()) < 0.01


def test_what_is_orthogonal_to_the_places_stays_as_it_is() -> None:
    debias = SubspaceDebias(32)
    debias.fit(with_places())
    content = torch.randn(1, 32, 4, 4)
    directions = debias.directions
    content -= torch.einsum("bchw,cr,dr->bdhw", content, directions, directions)
    left = debias(content)
    torch.testing.assert_close(left, content + torch.einsum("c,cr,dr->d", debias.centre, directions, directions)[None, :, None, None], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_vit_with_strong_places_loses_most_of_them(kind: PositionDebias) -> None:
    vit = tiny_vit()
    grid = with_places().flatten(1).T
    with torch.no_grad():
        old = torch.nn.functional.interpolate(grid.T.unflatten(1, (16, 16))[None], (14, 14), mode="bilinear")[0].flatten(1).T
        vit.network.pos_embed[:, 1:] += 2 * old
    before = positions_of(vit)
    add_debias(vit, kind=kind, fit=True)
    after = positions_of(vit)
    assert float(after.flatten(1).var(1).sum() / before.flatten(1).var(1).sum()) < 0.2
    assert vit(torch.randn(1, 3, 48, 80)).shape == (1, 32, 3, 5)


def test_the_measurement_is_the_same_at_every_call_and_travels_in_checkpoints() -> None:
    vit, again = tiny_vit(), tiny_vit()
    for network, fit in ((vit, True), (again, False)):
        add_debias(network, kind="mean", fit=fit)
    assert isinstance(again.debias, MeanDebias) and not again.debias.coefficients.any()
    again.load_state_dict(vit.state_dict())
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(again(image), vit(image), rtol=0, atol=0)
    torch.testing.assert_close(positions_of(vit), positions_of(again), rtol=0, atol=0)


def test_networks_without_position_embeddings_are_refused() -> None:
    with pytest.raises(ConfigError, match="model.position_debias=svd is for ViTs"):
        add_debias(make_backbone("resnet18"), kind="svd", fit=True)
