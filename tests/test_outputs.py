"""What a tracker gets of an evaluation: each row under a name of its own, and names that stay as they were."""

from mcdist.outputs import named_rows
from mcdist.records import Row, Subject


def row(num_clusters: int, *, masks: str = "predicted", protocol: str = "mean-embedding") -> Row:
    return Row(protocol, Subject("initial backbone", masks), "mIoU", "%", (40.0,), {"num_clusters": num_clusters})


def test_rows_that_differ_by_their_number_of_clusters_have_names_of_their_own_and_the_first_its_plain_one() -> None:
    rows = (row(6), row(12), row(25, masks="", protocol="group-segments"))
    assert named_rows(rows) == {
        "evaluation/predicted/mean-embedding/initial_backbone/miou_percent": rows[0],
        "evaluation/predicted/mean-embedding-12/initial_backbone/miou_percent": rows[1],
        "evaluation/photos/group-segments/initial_backbone/miou_percent": rows[2],
    }
