"""The Hugging Face hub, the one place that asks it."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError


def hub_snapshot(name: str, cache_dir: Path, *, offline: bool) -> Path | str:
    """The directory of a snapshot, or a reason in words why there is none.

    name: `ORG/REPO@REVISION`.
    offline: look only at what was downloaded before.
    """
    repository, _, revision = name.partition("@")
    try:
        found = snapshot_download(repository, revision=revision, cache_dir=cache_dir, local_files_only=offline)
    except HFValidationError:
        return f"{repository} is not the name of a repository"
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        return f"the hub refused {repository} ({status})"
    except OSError:
        # LocalEntryNotFoundError and every failure of the network are OSErrors here.
        return f"{repository} was not downloaded" if offline else f"the hub could not be reached for {repository}"
    return Path(str(found))
