from django.urls import path

from sendas import help_pages, views

app_name = "sendas"
urlpatterns = [
    path("", views.address_list, name="list"),
    path("send-as/add/", views.add, name="add"),
    path("send-as/server/", views.server, name="server"),
    path("send-as/edit/", views.edit_own, name="edit_own"),
    path("send-as/<int:pk>/prove/", views.prove, name="prove"),
    path("send-as/<int:pk>/edit/", views.edit, name="edit"),
    path("send-as/<int:pk>/delete/", views.delete, name="delete"),
    path("send-as/confirm/<str:token>/", views.confirm, name="confirm"),
    path("help/", help_pages.help_index, name="help"),
    path("help/<slug:subject>/", help_pages.help_page, name="help_page"),
]
