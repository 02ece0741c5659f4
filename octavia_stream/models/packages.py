"""Files of installed Python packages, found without importing them."""

import importlib.util
from pathlib import Path


def package_directory(name: str) -> Path | None:
    """Where a package's files are, or None when it is not installed. Nothing of it runs."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def package_file(path: str) -> Path | None:
    """The file behind `import_name/path/in/package`, or None when it is not installed."""
    name, _, inside = path.partition("/")
    directory = package_directory(name)
    if directory is None or not (directory / inside).is_file():
        return None
    return directory / inside
