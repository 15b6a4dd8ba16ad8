"""Settings that are what a test gives, and else the defaults."""

from __future__ import annotations

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.settings import Settings


class Given(Settings):
    """Nothing of the environment and of voxloom.toml, which say how whoever runs the tests has their own server. To
    look there takes ten times as long, too."""

    model_config = SettingsConfigDict(toml_file=None)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: object, **__: object
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)
