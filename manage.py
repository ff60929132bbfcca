#!/usr/bin/env python
import os
import sys


def main() -> int:
    # `up` makes the settings that Django would read, so it runs without Django.
    if sys.argv[1:2] == ["up"]:
        from config.supervisor import main as up

        return up(sys.argv[2:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
