"""What every support page must do, whichever app it belongs to."""

import re

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse


def page_of(row, page="change"):
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}"
    return reverse(name, args=[] if page in {"changelist", "add"} else [row.pk])


def read(client, url):
    response = client.get(url)
    assert response.status_code == 200, url
    html = response.content.decode()
    assert_fits_the_policy(html)
    return html


def assert_fits_the_policy(html):
    """Nothing inline: the browser would leave it out."""
    assert not re.search(r"<[^>]+\s(style|on\w+)=", html)
    assert not re.search(r"<style|<script(?![^>]*\bsrc=|[^>]*application/json)", html)


def assert_only_to_be_read(client, row):
    """List and page open, and neither adds, changes nor deletes."""
    listed = read(client, page_of(row, "changelist"))
    shown = read(client, page_of(row))
    for html in (listed, shown):
        assert "addlink" not in html
        assert "deletelink" not in html
        assert 'name="_save"' not in html
    for page in ("add", "delete"):
        assert client.get(page_of(row, page)).status_code == 403
        assert client.post(page_of(row, page), {"post": "yes"}).status_code == 403
    assert client.post(page_of(row), {}).status_code == 403
    assert type(row)._base_manager.filter(pk=row.pk).exists()
    return listed + shown


def count_queries(client, url):
    with CaptureQueriesContext(connection) as queries:
        read(client, url)
    return len(queries)
