"""Files that come with a form: nobody can fill the disk with them."""

from enum import StrEnum
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest

MOST_FILES = 100  # of one form

_LEFT_OUT = "outgate.files_left_out"


class LeftOut(StrEnum):
    """Why files of a form were not kept."""

    TOO_LARGE = "too large"
    TOO_MANY = "too many"


class BoundedUpload(FileUploadHandler):
    """Stands before Django's own: what is more than the largest message is read and not kept.

    Neither are files beyond `MOST_FILES`. It belongs to one request, and the rest of its form is
    there all the same, which Django's own limit of files would take with it.
    """

    def __init__(self, request: HttpRequest | None = None) -> None:
        super().__init__(request)
        self._octets_left = settings.OUTGATE_MESSAGE_SIZE
        self._files_left = MOST_FILES

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._files_left -= 1
        if self._files_left < 0:
            self._leave_out(LeftOut.TOO_MANY)

    def receive_data_chunk(self, raw_data: bytes, _start: int) -> bytes:
        self._octets_left -= len(raw_data)
        if self._octets_left < 0:
            self._leave_out(LeftOut.TOO_LARGE)
        return raw_data

    def file_complete(self, _file_size: int) -> "UploadedFile[Any] | None":
        return None

    def _leave_out(self, reason: LeftOut) -> None:
        if self.request:
            self.request.META.setdefault(_LEFT_OUT, reason)
        raise SkipFile


def left_out(request: HttpRequest) -> LeftOut | None:
    """Why files of the request were left out, None where all were kept."""
    return request.META.get(_LEFT_OUT) if request.POST else None
