"""Card: README.md of an exported folder, made from the run: what it was trained on, what it reached under which protocol, how to use it."""

import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from mcdist.config import Config
from mcdist.export.graphs import Agreement
from mcdist.model.backbones.published import PUBLISHED
from mcdist.records import Evaluation
from mcdist.report.table import evaluation_markdown

LOAD = """```python
import torch
from torchvision.io import decode_image

from mcdist.trained import embed_photo, load_encoder

encoder = load_encoder("FOLDER")
embedded = embed_photo(encoder, decode_image("photo.jpg", mode="RGB"))
```"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the card states. `graphs`: file name -> how it compares with the encoder, and on what; `objects`: of the index, 0 without
    one; `num_photos`: of the training shards, 0 where that is not known any more."""

    name: str
    config: Config
    step: int
    num_photos: int
    num_parameters: int
    stride_px: int
    evaluation: Evaluation | None
    licence: str
    graphs: dict[str, Agreement]
    checked_on: str
    objects: int


def model_card(facts: Facts) -> str:
    """Markdown with Hugging Face's header. Of paths only the last part is told: a folder of this machine is nobody else's business."""
    model = facts.config.model
    parts = [
        _header(facts),
        f"# {facts.name}",
        f"A dense encoder trained without labels by [mcdist](https://arxiv.org/abs/2102.06191): every {facts.stride_px} x {facts.stride_px} px get a "
        f"vector of {model.embedding_dim} numbers, and a logit that says whether an object is there. {facts.num_parameters / 1e6:,.1f} million parameters.",
        "## Use",
        LOAD,
        'Or, by Hugging Face\'s hub: `mcdist.export.hub.HubEncoder.from_pretrained("FOLDER or owner/name")`, which takes RGB in 0..1, '
        f"its sides multiples of {facts.stride_px} px; the pixel statistics are inside.",
        "## Training",
        _training(facts),
        "## Evaluation",
        _evaluation(facts.evaluation),
        *_graphs(facts),
        *([f"## Index\n\n`objects.faiss` holds {facts.objects:,} objects of the training photos, `objects.jsonl` what they are."] if facts.objects else []),
        "## Limits and licence",
        _licence(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _header(facts: Facts) -> str:
    known = facts.licence.lower() if facts.licence.lower() in ("apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-4.0", "cc0-1.0") else "other"
    tags = "\n".join(f"- {tag}" for tag in ("mcdist", "self-supervised", "semantic-segmentation"))
    return f"---\nlibrary_name: mcdist\nlicense: {known}\npipeline_tag: image-feature-extraction\ntags:\n{tags}\n---"


def _training(facts: Facts) -> str:
    config = facts.config
    rows = {
        "photos": f"the shards `{_last(config.data.train)}`{f', {facts.num_photos:,} photos' if facts.num_photos else ''}",
        "steps": f"{facts.step:,} of {config.optim.global_batch} photos",
        "views": f"{config.views.size_px} px",
        "backbone": config.model.backbone,
        "started from": _weights(config.model.weights),
        "blocks that train": _trains(config),
        "loss": ", ".join(f"{name} {weight:g}" for name, weight in _weights_of_loss(config).items()),
        "optimizer": f"{config.optim.optimizer}, lr {config.optim.lr:g}, {config.optim.schedule}, {config.optim.epochs} epochs",
        "masks": "those of the training shards; what proposed them is in the shards' manifest",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows.items())])


def _trains(config: Config) -> str:
    model = config.model
    if model.lora_rank:
        return f"LoRA of rank {model.lora_rank} from block {model.trainable_from} on, merged here"
    return "all" if model.trainable_from == 0 else f"from block {model.trainable_from} on"


def _weights_of_loss(config: Config) -> dict[str, float]:
    names = ("contrast", "saliency", "group", "group_contrast")
    weights = {name: float(getattr(config.loss, f"{name}_weight")) for name in names}
    return {name: weight for name, weight in weights.items() if weight}


def _weights(weights: str) -> str:
    known = PUBLISHED.get(weights)
    if known:
        return f"{weights} ({known.url}, licence: {known.licence})"
    return {"none": "random weights", "imagenet": "ImageNet classification", "hub": "the weights that its name stands for"}.get(weights, _last(weights))


def _evaluation(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return "This run was not evaluated: nothing is known about how good the vectors are."
    settings = ", ".join(f"{name}={json.dumps(value)}" for name, value in evaluation.settings.items() if name != "classes")
    protocols = "\n".join(f"- `{name}`: {', '.join(f'{key}={value}' for key, value in found.items())}" for name, found in evaluation.protocols.items())
    table = evaluation_markdown(evaluation).replace(evaluation.dataset, _last(evaluation.dataset))
    return (
        f"{table}\n{protocols}\n\nPhotos became object vectors with: {settings}."
        if evaluation.has_truth
        else (f"{evaluation.num_photos:,} photos of {_last(evaluation.dataset)} without ground truth were clustered; there is no score.")
    )


def _graphs(facts: Facts) -> list[str]:
    if not facts.graphs:
        return []
    lines = [
        f"| `{name}` | {found.difference_max:.1e} | {100 * found.same_share:.3f} % | {', '.join(f'{width} x {height}' for width, height in found.sizes)} |"
        for name, found in facts.graphs.items()
    ]
    head = ["| file | largest difference | pixels of the same class | sizes, px |", "|---|---:|---:|---|"]
    text = (
        f"Input `pixels`: float32 [B, 3, H, W], RGB in 0..1, any B and any H and W that are multiples of {facts.stride_px}. Compared with the encoder on "
        f"{facts.checked_on}; the difference is relative to the largest value, the class is the saliency's sign and the likeliest group."
    )
    return ["## Graphs", text, "\n".join([*head, *lines])]


def _licence(facts: Facts) -> str:
    return (
        f"Licence of these weights: {facts.licence}. The licences of the training photos and of the weights that the training started from apply as well. "
        "The encoder was trained without labels: its clusters have no names of their own, and what it treats as an object follows from the masks it saw."
    )


def _last(location: str) -> str:
    return PurePath(location.rstrip("/")).name or "unnamed"


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
