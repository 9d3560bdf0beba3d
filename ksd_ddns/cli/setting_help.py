# SPDX-License-Identifier: Apache-2.0
"""`ksd-ddns help WORD...`: the settings that the words mean."""

from collections.abc import Iterator, Sequence

from pydantic.fields import FieldInfo

from ksd_ddns.config.settings import Settings, flag_of


def lines(words: Sequence[str]) -> list[str]:
    """Return the description of the setting that `words` is, else those of all settings with all of the words.

    A setting is written as a variable, a flag or a key of the settings file.
    """
    key = " ".join(words).lstrip("-").lower().replace("-", "_")
    fields = Settings.model_fields
    if key in fields:
        return list(_lines(key, fields[key]))
    texts = {name: f"{name} {flag_of(name)} {info.description}".lower() for name, info in fields.items()}
    found = (name for name, text in texts.items() if all(word.lower() in text for word in words))
    return [line for name in found for line in _lines(name, fields[name])]


def _lines(name: str, info: FieldInfo) -> Iterator[str]:
    about = info.json_schema_extra
    assert isinstance(about, dict), "as every setting has it"
    yield f"{name.upper()}, {flag_of(name)}, {name} in the settings file"
    yield f"  {info.description}"
    yield f"  default: {about['shown']}"
