from django.urls import path

from delivery import views

app_name = "delivery"
urlpatterns = [
    path("", views.compose, name="compose"),
    path("outgoing/", views.outgoing, name="outgoing"),
    path("outgoing/<uuid:number>/again/", views.compose_again, name="again"),
    path("outgoing/<uuid:number>/discard/", views.discard_message, name="discard"),
]
