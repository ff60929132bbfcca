"""The version of a setting that the administrator saw, in its form."""

from typing import Any

from django import forms


class VersionField(forms.CharField):
    """Without a version that the page can have shown, 0: any saved change is then news."""

    widget = forms.HiddenInput

    def __init__(self) -> None:
        super().__init__(required=False)
        self.newest = 0

    def clean(self, value: Any) -> int:
        text = str(value or "")
        version = int(text) if text.isdecimal() and len(text) < 10 else 0
        return version if version <= self.newest else 0
