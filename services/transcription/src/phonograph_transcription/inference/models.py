"""Whisper models: the list of known ones, those on this machine, and their download."""

from dataclasses import dataclass
from pathlib import Path

from phonograph_transcription.exceptions import DownloadError, ModelMissingError

WEIGHTS = "model.bin"
FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")
"""Files of a model's repository that CTranslate2 and faster-whisper read."""
INCOMPLETE_SUFFIX = ".part"
"""Ends the name of a folder whose download is not complete."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A Whisper model in CTranslate2's format that can be fetched by name."""

    name: str
    repository: str
    folder: Path | None
    """Folder on this machine; None if the model is not there."""


class ModelFolder:
    """A folder with one folder for each model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str) -> Path | None:
        """Return the folder of a model, or None if it is not on this machine. Does not use the network.

        Args:
            name: Name, repository or path of the model.
        """
        for candidate in (self.folder / name, self._target_folder(name), Path(name)):
            if (candidate / WEIGHTS).is_file():
                return candidate
        return None

    def require(self, name: str) -> Path:
        """Return the folder of a model, as `find` does.

        Raises:
            ModelMissingError: If it is not on this machine; the message explains how to get it.
        """
        found = self.find(name)
        if found is None:
            raise ModelMissingError(
                f"The Whisper model {name!r} is not on this machine (looked in {self.folder}). "
                f"Run `phonograph models fetch {name}`, or set TRANSCRIPTION_MODEL to the folder of a "
                "CTranslate2 model."
            )
        return found

    def list_models(self) -> list[KnownModel]:
        """Return every model that can be fetched by name, and every other one in the folder."""
        repositories = _repositories()
        present = {path.parent.name for path in self.folder.glob(f"*/{WEIGHTS}")}
        present = {name for name in present if not name.endswith(INCOMPLETE_SUFFIX)}
        return [
            KnownModel(name, repositories.get(name, ""), self.find(name))
            for name in (*repositories, *sorted(present - set(repositories)))
        ]

    def fetch(self, name: str) -> Path:
        """Download a model into the folder, unless it is there; return its folder.

        Args:
            name: A known name, or `owner/repository` of a CTranslate2 model on the Hugging Face hub.

        Raises:
            DownloadError: If there is no such model, or the hub cannot be reached.
        """
        found = self.find(name)
        if found is not None:
            return found
        repository = _repositories().get(name, name)
        if "/" not in repository:
            names = ", ".join(_repositories())
            raise DownloadError(f"There is no Whisper model {name!r}; use one of {names}.")
        # faster_whisper.download_model still passes an argument that huggingface_hub 2 no longer has.
        from huggingface_hub import snapshot_download

        target = self._target_folder(name)
        incomplete = target.with_name(f"{target.name}{INCOMPLETE_SUFFIX}")
        try:
            snapshot_download(repository, local_dir=incomplete, allow_patterns=list(FILES))
        except Exception as error:  # the hub client raises errors of three libraries
            raise DownloadError(
                f"The model {name!r} could not be fetched from {repository}: {_first_line(error)}. "
                f"On a machine without network access, copy the model's folder to {target}."
            ) from error
        if not (incomplete / WEIGHTS).is_file():
            raise DownloadError(f"{repository} is no CTranslate2 Whisper model: it has no {WEIGHTS}.")
        # The name changes last: an interrupted download is never taken for a model.
        return incomplete.rename(target)

    def _target_folder(self, name: str) -> Path:
        return self.folder / name.replace("/", "--")


def _repositories() -> dict[str, str]:
    """Return the repositories of the models that faster-whisper knows, by name."""
    from faster_whisper import utils

    repositories: dict[str, str] = utils._MODELS  # noqa: SLF001  # there is no public list with repositories
    return repositories


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
