"""What proposed a folder of masks: kept in every sample that is built of it."""

import json
from pathlib import Path
from typing import Any

from mcdist.proposals.folder.proposal_folder import ProposalFolder


def facts_of_masks(masks: Path) -> dict[str, Any]:
    """Method, version, parameters and refinement of a folder that `mcdist proposals make` wrote; of any other its name alone.

    Raises:
        DataError: its proposals.json is damaged.
    """
    folder = ProposalFolder(masks)
    if not folder.manifest.is_file():
        return {"method": masks.name}
    manifest = folder.read_manifest()
    return {key: manifest[key] for key in ("method", "version", "parameters", "refine")}


def text_of(facts: dict[str, Any]) -> str:
    """The facts as one line: the name alone where there is no more."""
    return str(facts["method"]) if len(facts) == 1 else json.dumps(facts, sort_keys=True, ensure_ascii=False)
