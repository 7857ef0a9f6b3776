from django.urls import path

from shelf import views

urlpatterns = [path("", views.shelf), path("health/", views.health)]
