from django.db.models import Count
from django.http import HttpResponse

from shelf.models import Author


def shelf(request):
    authors = Author.objects.annotate(count=Count("books")).order_by("id")
    return HttpResponse("".join(f"<p>{author.name}: {author.count}</p>" for author in authors))


def health(request):
    return HttpResponse("ok")
