"""Files that come with a form: nobody can fill the disk with them."""

from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest

_TOO_LARGE = "outgate.upload_too_large"


class BoundedUpload(FileUploadHandler):
    """Stands before Django's own: what is more than the largest message is read and not kept.

    It belongs to one request, and the rest of its form is there all the same.
    """

    def __init__(self, request: HttpRequest | None = None) -> None:
        super().__init__(request)
        self._left = settings.OUTGATE_MESSAGE_SIZE

    def receive_data_chunk(self, raw_data: bytes, _start: int) -> bytes:
        self._left -= len(raw_data)
        if self._left < 0:
            if self.request:
                self.request.META[_TOO_LARGE] = True
            raise SkipFile
        return raw_data

    def file_complete(self, _file_size: int) -> "UploadedFile[Any] | None":
        return None


def was_too_large(request: HttpRequest) -> bool:
    """Whether a file of the request was left out."""
    return bool(request.POST) and _TOO_LARGE in request.META
