"""The data card: README.md of an exported data set, which says how each label came to be and what is not labelled."""

from collections import Counter
from dataclasses import dataclass, field

from mcdist.dataset.formats.format import Kind
from mcdist.dataset.labels import LabelRule, Void


@dataclass(slots=True)
class Counts:
    """What was exported: photos by split, photos left out, labelled segments and photos by class id, and void segments by their reason."""

    photos: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    segments: Counter[int] = field(default_factory=Counter)
    photos_of_class: Counter[int] = field(default_factory=Counter)
    void: Counter[Void] = field(default_factory=Counter)
    background: int = 0


def data_card(title: str, *, kind: Kind, names: dict[int, str], counts: Counts, rule: LabelRule, facts: dict[str, str], keep_empty: bool) -> str:
    """The text of README.md. The same export gives the same text: it has no date."""
    rows = "".join(f"| {class_id} | {_cell(name)} | {counts.segments[class_id]:,} | {counts.photos_of_class[class_id]:,} |\n" for class_id, name in names.items())
    void = "".join(f"- {num:,} segments: {_REASONS[reason].format(least=f'{rule.min_confidence:g}')}\n" for reason, num in sorted(counts.void.items()))
    about = "".join(f"| {name} | {_cell(value)} |\n" for name, value in facts.items())
    empty = "are part of the data set with no label" if keep_empty else "are left out"
    unnamed = "are void" if rule.unnamed == "void" else "are classes of their own"
    return f"""# {_cell(title)}

Labels of {sum(counts.photos.values()):,} photos ({counts.photos["train"]:,} train, {counts.photos["val"]:,} val), {counts.segments.total():,} segments,
in the format `{kind.name}`. **No person drew these labels**: mcdist found the objects and clustered them without labels, a person named
clusters, and every segment has the name of its cluster.

## How each label came to be

1. A network that was trained without labels marks the objects of a photo. Each connected part is a segment.
2. The mean embedding of a segment's pixels is compared with the clusters; the nearest one is the segment's cluster.
3. The cluster's name is the segment's class. Its confidence is the probability of that class, summed over its clusters.
4. A segment has a label where the confidence is at least {rule.min_confidence:g}. Clusters without a name {unnamed}.

| | |
|---|---|
{about}
## Classes

| id | class | segments | photos |
|---:|---|---:|---:|
{rows}
## What is not labelled

{void}- {counts.background:,} segments are background, because a person named their cluster so.
- Objects that the network did not mark at all. Nothing shows where they are: what is outside of all segments is not checked.
- {counts.left_out:,} photos without any labelled segment {empty}.

{kind.void}

Train and val are drawn by a hash of the photo's name, so that photos added later move no other. Both have labels of the same making: a score
on val says how well a model repeats these labels, not how right they are.

## Open it

```python
{kind.how_to_open}
```

`mcdist_dataset.json` has the settings of the export, and each photo's original name.
"""


_REASONS: dict[Void, str] = {
    "low confidence": "their confidence is below {least}.",
    "no name": "their cluster has no name.",
    "rejected": "a person rejected the object.",
}


def _cell(text: str) -> str:
    """A text from elsewhere, in one cell of a table: it can begin no markup and no other cell."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in plain)
