"""Whisper models on this machine: which are known, where they lie, how to fetch one."""

from dataclasses import dataclass
from pathlib import Path

from phonograph_transcription.exceptions import DownloadError, ModelMissingError

WEIGHTS = "model.bin"
FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")
"""What CTranslate2 and faster-whisper read of a model's repository."""
PART = ".part"
"""Ends the name of a folder whose download is not complete."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A Whisper model in CTranslate2's format that can be fetched by name."""

    name: str
    repository: str
    folder: Path | None
    """Where it lies on this machine; null when it does not."""


class ModelFolder:
    """The folder that holds the models, each in a folder of its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str) -> Path | None:
        """Folder of a model, given by its name, its repository or a path; null when it is not here.

        Never asks the network.
        """
        for candidate in (self.folder / name, self._target(name), Path(name)):
            if (candidate / WEIGHTS).is_file():
                return candidate
        return None

    def require(self, name: str) -> Path:
        """As `find`.

        Raises:
            ModelMissingError: it is not here; the message tells how to get it.
        """
        found = self.find(name)
        if found is None:
            raise ModelMissingError(
                f"The Whisper model {name!r} does not lie on this machine (looked in {self.folder}). "
                f"Run `phonograph models fetch {name}`, or give the folder of a CTranslate2 model."
            )
        return found

    def known(self) -> list[KnownModel]:
        """Every model that can be fetched by name, and every other one in the folder."""
        repositories = _repositories()
        present = {path.parent.name for path in self.folder.glob(f"*/{WEIGHTS}")}
        present = {name for name in present if not name.endswith(PART)}
        return [
            KnownModel(name, repositories.get(name, ""), self.find(name))
            for name in (*repositories, *sorted(present - set(repositories)))
        ]

    def fetch(self, name: str) -> Path:
        """Download a model into the folder, unless it is there.

        Args:
            name: a known name, or `owner/repository` of a CTranslate2 model on the Hugging Face hub.

        Raises:
            DownloadError: there is no such model, or the hub cannot be reached.
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

        target = self._target(name)
        part = target.with_name(f"{target.name}{PART}")
        try:
            snapshot_download(repository, local_dir=part, allow_patterns=list(FILES))
        except Exception as error:  # the hub client raises errors of three libraries
            raise DownloadError(
                f"The model {name!r} could not be fetched from {repository}: {_first_line(error)}. "
                f"On a machine without network copy the model's folder to {target}."
            ) from error
        if not (part / WEIGHTS).is_file():
            raise DownloadError(f"{repository} is no CTranslate2 Whisper model: it has no {WEIGHTS}.")
        return part.rename(target)

    def _target(self, name: str) -> Path:
        return self.folder / name.replace("/", "--")


def _repositories() -> dict[str, str]:
    """Names of models with their repositories, as faster-whisper knows them."""
    from faster_whisper import utils

    repositories: dict[str, str] = utils._MODELS  # noqa: SLF001  # there is no public list with repositories
    return repositories


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
