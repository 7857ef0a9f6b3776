import os
from urllib.parse import urlsplit

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shelf.urls"
WSGI_APPLICATION = "shelf.wsgi.application"
INSTALLED_APPS = ["shelf"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

url = urlsplit(os.environ["DATABASE_URL"])
primary = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": url.path.lstrip("/"),
    "USER": url.username,
    "PASSWORD": url.password,
    "HOST": url.hostname,
    "PORT": url.port,
    "CONN_MAX_AGE": 600,
}
# Fly.io: the replica of a region answers at REGION.HOST:5433.
replica = {
    **primary,
    "HOST": f"{os.environ.get('FLY_REGION', 'local')}.{url.hostname}",
    "PORT": 5433,
}
DATABASES = {"default": primary, "replica": replica}
DATABASE_ROUTERS = ["shelf.router.ReplicaRouter"]
