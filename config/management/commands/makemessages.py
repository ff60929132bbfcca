from django.core.management.base import CommandParser
from django.core.management.commands import makemessages


class Command(makemessages.Command):
    """Django's, with the options that our catalogue is written with."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(
            locale=["ja"],
            no_wrap=True,
            no_obsolete=True,
            add_location="file",
            ignore_patterns=["tests", "bench", "var", "static"],
        )
