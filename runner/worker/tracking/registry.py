"""The registry of one run: models under the names that its command gave them, their versions counted within the run."""

from __future__ import annotations

from typing import Optional

from runner.worker.files import Json
from runner.worker.tracking.described import Described, Line, pairs

NO_STAGE = "None"


class Version(Described):
    """A version of a registered model; ``info["place"]`` is where its files are."""

    def __init__(self, number: str) -> None:
        """Know nothing of it yet."""
        super().__init__(current_stage=NO_STAGE)
        self.number = number

    @property
    def stage(self) -> str:
        """Its stage, as MLflow writes it; "None" where it has none."""
        return str(self.info["current_stage"])

    def to_json(self, model: Registered) -> dict[str, Json]:
        """Return it as MLflow's `ModelVersion`."""
        info = {name: value for name, value in self.info.items() if name != "place"}
        aliases: list[Json] = [alias for alias, number in model.aliases.items() if number == self.number]
        about: dict[str, Json] = {"name": model.name, "version": self.number, "status": "READY"}
        return {**info, **about, "aliases": aliases, "tags": pairs(self.tags)}


class Registered(Described):
    """A registered model."""

    def __init__(self, name: str) -> None:
        """Know nothing of it yet."""
        super().__init__()
        self.name = name
        self.aliases: dict[str, str] = {}  # to the number of a version
        self._versions: dict[str, Version] = {}

    @property
    def versions(self) -> list[Version]:
        """Its versions, the first one first; those that were deleted are left out."""
        return [version for version in self._versions.values() if not version.deleted]

    def version(self, number: str) -> Optional[Version]:
        """Return a version; None where there is none of that number."""
        found = self._versions.get(number)
        return None if found is None or found.deleted else found

    def next_number(self) -> str:
        """Return the number of the next version: those of deleted ones are not given again."""
        return str(len(self._versions) + 1)

    def latest(self, stages: set[str]) -> list[Version]:
        """Return the newest version of each of some stages."""
        newest = {version.stage: version for version in self.versions if version.stage in stages}
        return list(newest.values())

    def update(self, line: Line) -> None:
        """Take a line into account, be it about the model or about one of its versions."""
        moment = {"last_updated_timestamp": line["at"]}
        self.info = {"creation_timestamp": line["at"], **self.info, **moment}
        if "version" not in line:
            super().update(line)
            self.aliases = {**self.aliases, **line.get("aliases", {})}
            self.aliases.pop(line.get("unalias", ""), None)
            return
        number = str(line["version"])
        version = self._versions.setdefault(number, Version(number))
        version.info = {"creation_timestamp": line["at"], **version.info, **moment}
        version.update(line)
        if version.deleted:
            self.aliases = {alias: other for alias, other in self.aliases.items() if other != number}

    def to_json(self) -> dict[str, Json]:
        """Return it as MLflow's `RegisteredModel`."""
        stages = {version.stage for version in self.versions}
        return {
            **self.info,
            "name": self.name,
            "tags": pairs(self.tags),
            "aliases": [{"alias": alias, "version": number} for alias, number in self.aliases.items()],
            "latest_versions": [version.to_json(self) for version in self.latest(stages)],
        }


class Registry:
    """The registered models of a run, by name."""

    def __init__(self) -> None:
        """Know none yet."""
        self.models: dict[str, Registered] = {}

    def apply(self, line: Line) -> None:
        """Take a line into account."""
        name = str(line["name"])
        if "renamed" in line:
            model = self.models.pop(name)
            model.name = str(line["renamed"])
            self.models[model.name] = model
        elif line.get("deleted") and "version" not in line:
            self.models.pop(name, None)
            return
        else:
            model = self.models.setdefault(name, Registered(name))
        model.update(line)
