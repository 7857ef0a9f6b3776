"""Large uploads: replayed once they have arrived, or sent where they belong from the beginning."""

from itertools import cycle, product

from locust import task

from loadtest.engine.user import TTFBUser

MB = 1_000_000
SIZES = (("0.1 MB", MB // 10), ("0.5 MB", MB // 2), ("1.2 MB", 12 * MB // 10), ("10 MB", 10 * MB))
BODY = b"x" * (10 * MB)
PRIMARY = "cdg"


class Uploads(TTFBUser):
    """Uploads each size both ways in turn."""

    scenario = "uploads"
    weight = 3

    def on_start(self) -> None:
        """Begin with the smallest."""
        self.turn = cycle(product(SIZES, ("replayed", "direct")))

    @task
    def upload(self) -> None:
        """Upload the next one; what is too large to be replayed is refused, and told as such."""
        (size, length), way = next(self.turn)
        headers = {"Content-Type": "application/octet-stream"}
        if way == "direct":
            headers["Fly-Prefer-Region"] = PRIMARY
        self.client.cookies.clear()
        post = self.client.post(
            "/uploads", data=BODY[:length], headers=headers, catch_response=True
        )
        with post as response:
            told = way
            if response.status_code == 502:
                told = f"{way}: HTTP 502"
                response.success()
            response.name = f"POST /uploads [{size}, {told}]"
