"""The fields of our FFCV files: which of a sample's members they hold, and how."""

from mcdist.data.shards.raw_sample import INFO_MEMBER

PHOTO_FIELD = "photo"
KEY_FIELD = "key"
OWN_FIELDS = (PHOTO_FIELD, KEY_FIELD)
"""Every other field is a member of the sample, under its own name."""

LABEL_MEMBER = "cls"
"""WebDataset's name for a class label, a number in text."""

JSON_FIELDS = (KEY_FIELD, INFO_MEMBER)
TERMINATOR = b"\0"
"""Ends the text of FFCV's JSON fields."""

ABSENT = b"\0"
"""What a sample holds in a field that only others have: FFCV has no empty field."""
