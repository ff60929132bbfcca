from django.urls import path

from sendas import help_pages
from sendas.views import adding, editing, listing, proof

app_name = "sendas"
urlpatterns = [
    path("", listing.address_list, name="list"),
    path("send-as/add/", adding.add, name="add"),
    path("send-as/server/", adding.server, name="server"),
    path("send-as/edit/", editing.edit_own, name="edit_own"),
    path("send-as/<int:pk>/prove/", proof.prove, name="prove"),
    path("send-as/<int:pk>/edit/", editing.edit, name="edit"),
    path("send-as/<int:pk>/delete/", editing.delete, name="delete"),
    path("send-as/confirm/<str:token>/", proof.confirm, name="confirm"),
    path("help/", help_pages.help_index, name="help"),
    path("help/<slug:subject>/", help_pages.help_page, name="help_page"),
]
