"""The data card: README.md of an exported data set, which says how each label came to be and what is not labelled."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from mcdist.dataset.formats.format import Kind
from mcdist.dataset.labels import UNNAMED_NAME, LabelRule, Void


@dataclass(slots=True)
class Counts:
    """What was exported: photos by split, photos left out, labelled segments and photos by class id, and void segments by their reason.

    `not_segmented`: pictures in the folder of photos that have no segments file, because segmenting has not come to them or could not read them.
    """

    photos: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    not_segmented: int = 0
    segments: Counter[int] = field(default_factory=Counter)
    photos_of_class: Counter[int] = field(default_factory=Counter)
    void: Counter[Void] = field(default_factory=Counter)
    background: int = 0


def data_card(title: str, *, kind: Kind, names: dict[int, str], counts: Counts, rule: LabelRule, facts: dict[str, str], keep_empty: bool) -> str:
    """The text of README.md. The same export gives the same text: it has no date."""
    numbers = {class_id: (counts.segments[class_id], counts.photos_of_class[class_id]) for class_id in names}
    rows = "".join(f"| {class_id} | {_cell(name)} | {numbers[class_id][0]:,} | {numbers[class_id][1]:,} |\n" for class_id, name in names.items())
    about = "".join(f"| {name} | {_cell(value)} |\n" for name, value in facts.items())
    not_labelled = "".join(f"- {line}\n" for line in _not_labelled(counts, rule=rule, keep_empty=keep_empty))
    made = _how_named(names)
    unnamed = "are void" if rule.unnamed == "void" else "are classes of their own"
    return f"""# {_cell(title)}

{sum(counts.photos.values()):,} photos ({counts.photos["train"]:,} train, {counts.photos["val"]:,} val) with {counts.segments.total():,} labelled segments,
in the format `{kind.name}`. **No person drew these labels.** mcdist found the objects and clustered them without labels; {made}.

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

{not_labelled}
{kind.void}

Train and val are drawn by a hash of the photo's name, so that photos added later move no other. Both have labels of the same making: a score
on val says how well a model repeats these labels, not how right they are.

## Open it

```python
{kind.how_to_open}
```

`mcdist_dataset.json` has the settings of the export, and each photo's original name.
"""


def _how_named(names: dict[int, str]) -> str:
    if all(UNNAMED_NAME.fullmatch(name) for name in names.values()):
        return "nobody has named\na cluster yet, and each segment has the number of its cluster"
    return "a person named\nclusters, and each segment has the name of its cluster"


def _not_labelled(counts: Counts, *, rule: LabelRule, keep_empty: bool) -> Iterator[str]:
    for reason, num in sorted(counts.void.items()):
        yield f"{num:,} segments are void: {_REASONS[reason].format(least=f'{rule.min_confidence:g}')}"
    if counts.background:
        yield f"{counts.background:,} segments are background: a person named their cluster so."
    yield "Objects that the network did not mark. Nothing shows where they are: what is outside of all segments was not checked by anybody."
    if counts.left_out:
        yield f"{counts.left_out:,} photos have no labelled segment and are {'in the data set all the same' if keep_empty else 'left out'}."
    if counts.not_segmented:
        yield f"{counts.not_segmented:,} pictures of the folder were not segmented."


_REASONS: dict[Void, str] = {
    "low confidence": "their confidence is below {least}.",
    "no name": "their cluster has no name.",
    "rejected": "a person rejected the object.",
}


def _cell(text: str) -> str:
    """A text from elsewhere, in one cell of a table: it can begin no markup and no other cell."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in plain)
