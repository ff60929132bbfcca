from django.urls import reverse

from accounts.models import HelpAnswer
from tests.console.rows import text_of

PAGE = "/console/help/gateways/"


def test_help_stands_where_the_setting_is_and_says_how_long_it_takes(
    client, unit_admin, organisation, settings
):
    settings.OUTGATE_ROLLOUT_WINDOW = 3600
    client.force_login(unit_admin)
    for name in ("console:mail_advanced", "console:mail_access"):
        card = client.get(reverse(name, args=[organisation.sales.pk]))
        assert f'href="{PAGE}"' in card.content.decode()
    words = text_of(client.get(PAGE))
    assert "neither your organisation’s outbound gateway nor its archive" in words
    assert "everybody within 60 min, in waves" in words
    assert f"on behalf of {unit_admin.primary_address}" in words


def test_an_answer_is_kept_for_support(client, unit_admin):
    client.force_login(unit_admin)
    answer = {"helpful": "no", "comment": "What of distribution lists?"}
    assert "Your answer is kept" in text_of(client.post(PAGE, answer, follow=True))
    kept = HelpAnswer.objects.get()
    assert (kept.user, kept.page, kept.helpful) == (unit_admin, PAGE, False)


def test_an_answer_without_a_choice_is_asked_for_again_as_typed(client, unit_admin):
    client.force_login(unit_admin)
    response = client.post(PAGE, {"comment": "What of lists?"})
    assert "What of lists?" in response.content.decode()
    assert "Not sent yet" in text_of(response)
    assert not HelpAnswer.objects.exists()


def test_who_may_not_change_the_setting_is_led_to_no_page_of_it(client, reports_admin):
    client.force_login(reports_admin)
    html = client.get(PAGE).content.decode()
    assert reverse("console:rollouts") not in html
    assert reverse("console:mail_advanced") not in html
