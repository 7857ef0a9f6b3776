import django.db.models.deletion
from django.db import migrations, models


def seed(apps, schema_editor):
    author_model = apps.get_model("shelf", "Author")
    book_model = apps.get_model("shelf", "Book")
    for name in ("Ursula", "Italo", "Clarice"):
        author = author_model.objects.using("default").create(name=name)
        for number in range(1, 5):
            book_model.objects.using("default").create(author=author, title=f"{name} {number}")


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Author",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100, unique=True)),
            ],
        ),
        migrations.CreateModel(
            name="Book",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("title", models.CharField(max_length=100, unique=True)),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="books",
                        to="shelf.author",
                    ),
                ),
            ],
        ),
        migrations.RunPython(seed),
    ]
