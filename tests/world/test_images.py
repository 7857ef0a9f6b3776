"""Images: read whatever wrote them, unpacked to nowhere else, run as they say."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import image_files as made
import pytest
import small_world as small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_hosts import OBSTACLE

from loadtest.errors import PlanError
from loadtest.fly.config import parse_app_config
from loadtest.kernel import users
from loadtest.world.handle import start_world
from loadtest.world.images.archive import ImageArchive
from loadtest.world.images.config import ImageConfig, read_image_config
from loadtest.world.images.root import ImageRoot, ImageUser, find_account

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONFIG = {"Entrypoint": ["/program"], "Cmd": ["serve"], "Env": ["GREETING=moin", "ODD"]}
HELLO = made.layer(made.entry("hello", b"hello"))


class TestArchive:
    @pytest.mark.parametrize("compress", [bytes, made.gzip.compress, zstd.compress])
    def test_a_layout_is_read_however_its_layers_are_packed(
        self, tmp_path: Path, compress: Callable[[bytes], bytes]
    ) -> None:
        folder = made.write_layout(tmp_path / "image", [HELLO], CONFIG, compress=compress)
        with ImageArchive(folder) as archive:
            assert archive.config == ImageConfig(
                entrypoint=("/program",),
                command=("serve",),
                environment={"GREETING": "moin"},
                layers=(made.digest(HELLO),),
            )
            (reader,) = archive.layers()
            assert reader.read() == HELLO
            reader.verify()

    def test_an_archive_of_a_layout_and_what_docker_saves_are_the_same(
        self, tmp_path: Path
    ) -> None:
        folder = made.write_layout(tmp_path / "image", [HELLO], CONFIG)
        with tarfile.open(tmp_path / "image.tar", "w") as tar:
            tar.add(folder, ".")
        saved = made.write_saved(tmp_path / "saved.tar", [HELLO], CONFIG)
        configs = []
        for path in (folder, tmp_path / "image.tar", saved):
            with ImageArchive(path) as archive:
                configs.append(archive.config)
                assert [reader.read() for reader in archive.layers()] == [HELLO]
        assert configs[0] == configs[1] == configs[2]

    def test_a_layer_that_is_another_is_told(self, tmp_path: Path) -> None:
        folder = made.write_layout(
            tmp_path / "image", [HELLO], CONFIG, rootfs={"diff_ids": [made.digest(b"other")]}
        )
        with (
            ImageArchive(folder) as archive,
            pytest.raises(ValueError, match="is not what it says"),
        ):
            archive.layers()[0].verify()

    def test_an_image_for_another_machine_is_refused(self, tmp_path: Path) -> None:
        folder = made.write_layout(tmp_path / "a", [HELLO], CONFIG, architecture="s390x")
        with pytest.raises(PlanError, match="holds 0 images for linux/"):
            ImageArchive(folder)
        data = json.loads(made.image_document([], {}, architecture="s390x"))
        with pytest.raises(PlanError, match=r"built for linux/s390x, this machine runs linux/"):
            read_image_config(data, "image x")

    @pytest.mark.parametrize(
        ("name", "change", "told"),
        [
            ("index.json", lambda _: b"{", "cannot be read"),
            ("index.json", lambda _: b"[]", "holds no dict"),
            ("index.json", lambda data: data.replace(b"sha256:", b"sha257:"), "no sha256 digest"),
            ("index.json", lambda data: data.replace(b"linux", b"plan9"), "holds 0 images"),
            ("manifest.json", lambda _: b"[]", "holds 0 images"),
            ("manifest.json", lambda _: b'[{"Config": "../x"}]', "no name of a file in the image"),
            ("manifest.json", lambda _: b'[{"Config": "x"}]', "No such file"),
        ],
    )
    def test_what_is_no_image_is_one_sentence(
        self, tmp_path: Path, name: str, change: Callable[[bytes], bytes], told: str
    ) -> None:
        folder = made.write_layout(tmp_path / "image", [HELLO], CONFIG)
        path = folder / name
        path.write_bytes(change(path.read_bytes() if path.exists() else b""))
        with pytest.raises(PlanError, match=told):
            ImageArchive(folder)

    def test_any_other_file_or_folder_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("no tar")
        with pytest.raises(PlanError, match="cannot be read"):
            ImageArchive(tmp_path / "text")
        with pytest.raises(PlanError, match=r"neither an OCI layout nor what `docker save` writes"):
            ImageArchive(tmp_path)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def test_a_damaged_archive_is_read_or_refused(
        self, tmp_path: Path, data: st.DataObject
    ) -> None:
        whole = bytearray(made.write_saved(tmp_path / "saved.tar", [HELLO], CONFIG).read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        path = tmp_path / "damaged.tar"
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        with contextlib.suppress(PlanError), ImageArchive(path) as archive:
            archive.layers()

    @settings(max_examples=100, deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["config", "rootfs", "Env", "Cmd", "User", "diff_ids", "os"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_any_configuration_is_read_or_refused(self, document: Any) -> None:
        try:
            read_image_config(document, "image x")
        except PlanError:
            return


def test_words_are_those_of_the_machine_before_those_of_the_image() -> None:
    image = ImageConfig(entrypoint=("/entry",), command=("serve",))
    assert image.words((), ()) == ("/entry", "serve")
    assert image.words((), ("migrate",)) == ("/entry", "migrate")
    assert image.words(("/other",), ()) == ("/other", "serve")
    assert image.words((), ("sh", "-c", "x"), whole=True) == ("sh", "-c", "x")


class TestUser:
    PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbroken\n"
    GROUP = "root:x:0:\nweb:x:1002:app,other\napp:x:1001:\n"

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("", ImageUser(0, 0, (), "/root")),
            ("app", ImageUser(1000, 1001, (1002,), "/home/app")),
            ("1000", ImageUser(1000, 1001, (1002,), "/home/app")),
            ("app:web", ImageUser(1000, 1002, (), "/home/app")),
            ("7:8", ImageUser(7, 8, (), "/")),
            ("7", ImageUser(7, 0, (), "/")),
        ],
    )
    def test_it_is_looked_up_in_the_images_own_files(
        self, tmp_path: Path, text: str, found: ImageUser
    ) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "passwd").write_text(self.PASSWD)
        (tmp_path / "etc" / "group").write_text(self.GROUP)
        assert find_account(tmp_path, text) == found

    def test_nobody_of_that_name_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "etc").symlink_to("/etc")  # which leads out of the image
        with pytest.raises(ValueError, match="passwd has no 'root'"):
            find_account(tmp_path, "root")
        with pytest.raises(ValueError, match="group has no 'web'"):
            find_account(tmp_path, "0:web")


def unpacked(image: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Unpack as the world does, in a process of its own."""
    target.mkdir()
    words = [sys.executable, "-m", "loadtest.world.images", str(image), str(target)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.contract
@pytest.mark.skipif(bool(OBSTACLE), reason=f"no hosts here: {OBSTACLE}")
class TestUnpack:
    def test_layers_lie_on_each_other(self, tmp_path: Path) -> None:
        below = made.layer(
            made.entry("usr/bin", None),
            made.entry("usr/bin/tool", b"old"),
            made.entry("bin", b"", type=tarfile.SYMTYPE, linkname="usr/bin"),
            made.entry("absolute", b"", type=tarfile.SYMTYPE, linkname="/usr/bin/tool"),
            made.entry("gone", b"x"),
            made.entry("emptied/old", b"x"),
            made.entry("folder/inside", b"x"),
            made.entry("null", b"", type=tarfile.CHRTYPE),
            made.entry("shared", b"", type=tarfile.LNKTYPE, linkname="usr/bin/tool"),
            made.entry("secret", b"x", mode=0o000, mtime=1_000_000_000),
        )
        above = made.layer(
            made.entry("bin/tool", b"new"),
            made.entry(".wh.gone", b""),
            made.entry("emptied/new", b"y"),
            made.entry("emptied/.wh..wh..opq", b""),
            made.entry("folder", b"now a file"),
        )
        image = made.write_layout(tmp_path / "image", [below, above], CONFIG)
        target = tmp_path / "tree"
        done = unpacked(image, target)
        assert (done.returncode, done.stderr) == (0, "")
        assert (target / "usr/bin/tool").read_bytes() == b"new"
        assert os.readlink(target / "absolute") == "/usr/bin/tool"
        assert (target / "shared").read_bytes() == b"old"
        assert sorted(os.listdir(target)) == [
            *("absolute", "bin", "emptied", "folder", "secret", "shared", "usr")
        ]
        assert os.listdir(target / "emptied") == ["new"]
        assert (target / "folder").read_bytes() == b"now a file"
        assert (target / "secret").stat().st_mtime == 1_000_000_000

    def test_nothing_leads_out(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.write_text("untouched")
        far = "../" * 20
        bad = made.layer(
            made.entry(f"{far}{tmp_path}/escaped", b"x"),
            made.entry(f"{tmp_path}/absolute", b"x"),
            made.entry("door", b"", type=tarfile.SYMTYPE, linkname=str(tmp_path)),
            made.entry("door/through", b"x"),
            made.entry("stairs", b"", type=tarfile.SYMTYPE, linkname=far),
            made.entry(f"stairs{tmp_path}/up", b"x"),
            made.entry(f"door/.wh.{outside.name}", b""),
        )
        target = tmp_path / "tree"
        unpacked(made.write_layout(tmp_path / "image", [bad], CONFIG), target)
        assert outside.read_text() == "untouched"
        assert {path.name for path in tmp_path.iterdir()} == {"outside", "image", "tree"}

    def test_a_hard_link_to_what_is_outside_is_one_sentence(self, tmp_path: Path) -> None:
        link = made.entry("own", b"", type=tarfile.LNKTYPE, linkname=f"{'../' * 20}etc/passwd")
        image = made.write_layout(tmp_path / "image", [made.layer(link)], CONFIG)
        done = unpacked(image, tmp_path / "tree")
        assert done.returncode == 1
        assert "No such file" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_damaged_layer_is_one_sentence(self, tmp_path: Path) -> None:
        image = made.write_layout(
            tmp_path / "image", [HELLO], CONFIG, compress=lambda _: b"\x1f\x8bx"
        )
        done = unpacked(image, tmp_path / "tree")
        assert done.returncode == 1
        assert done.stderr.startswith(f"image {image}: ")
        assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    found = made.build_program(tmp_path_factory.mktemp("program"))
    if found is None:
        pytest.skip("no C compiler, or none for static programs")
    return found


@pytest.mark.contract
@pytest.mark.skipif(bool(OBSTACLE), reason=f"no hosts here: {OBSTACLE}")
class TestRun:
    def told(self, tmp_path: Path, program: bytes, config: ImageConfig, *, one_id: bool) -> str:
        """Return what the program says of itself when it runs in a tree of its own."""
        for name in ("tree", "point"):
            (tmp_path / name).mkdir()
        (tmp_path / "tree" / "program").write_bytes(program)
        (tmp_path / "tree" / "program").chmod(0o755)
        root = ImageRoot(tmp_path / "tree", config, tmp_path / "point")
        namespace = (
            None if one_id or not users.has_all_ids() else users.make_namespace_with_all_ids()
        )
        enter = root.entrance(
            hostname="machine",
            files={"/etc/hosts": b""},
            enter_network=lambda: None,
            user_namespace=namespace,
        )
        done = subprocess.run(
            list(config.entrypoint),
            env=root.environment({"GREETING": "hello"}),
            preexec_fn=enter,
            capture_output=True,
            text=True,
            check=False,
        )
        if namespace is not None:
            os.close(namespace)
        assert (done.returncode, done.stderr) == (0, "")
        assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
        assert sorted(p.name for p in (tmp_path / "tree").iterdir()) == ["program"]
        return done.stdout.strip()

    def test_it_is_who_the_image_says_in_a_tree_of_its_own(
        self, tmp_path: Path, program: bytes
    ) -> None:
        config = ImageConfig(entrypoint=("/program",), user="1000:1001", folder="/work")
        assert self.told(tmp_path, program, config, one_id=False) == (
            "uid=1000 gid=1001 host=machine cwd=/work greeting=hello home=/ note=1 null=1"
        )

    def test_where_there_is_one_id_it_is_the_images(self, tmp_path: Path, program: bytes) -> None:
        config = ImageConfig(entrypoint=("/program",), user="1000:1001")
        assert self.told(tmp_path, program, config, one_id=True).startswith("uid=1000 gid=1001 ")

    @pytest.mark.parametrize("one_id", [True, False])
    def test_files_and_volumes_of_the_machine_are_in_its_tree_and_in_no_other(
        self, tmp_path: Path, program: bytes, *, one_id: bool
    ) -> None:
        for name in ("tree/data", "point"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "tree" / "program").write_bytes(program)
        (tmp_path / "tree" / "program").chmod(0o755)
        (tmp_path / "tree" / "data" / "old").touch()
        (tmp_path / "tree" / "app.conf").symlink_to("/nowhere")
        namespace = (
            None if one_id or not users.has_all_ids() else users.make_namespace_with_all_ids()
        )
        enter = ImageRoot(
            tmp_path / "tree", ImageConfig(entrypoint=("/program",)), tmp_path / "point"
        ).entrance(
            hostname="machine",
            files={"/app.conf": b"one", "srv/deep/two": b"\0two"},
            volumes=("/data", "/var/lib/shop"),
            enter_network=lambda: None,
            user_namespace=namespace,
        )
        reading, writing = os.pipe()

        def look() -> None:
            enter()
            Path("/var/lib/shop/written").touch()
            found = [
                Path("/app.conf").read_bytes(),
                Path("/srv/deep/two").read_bytes(),
                *(",".join(os.listdir(path)).encode() for path in ("/data", "/var/lib/shop")),
            ]
            os.write(writing, b" ".join(found))

        subprocess.run(["/program"], preexec_fn=look, pass_fds=(writing,), capture_output=True,
                       check=True)  # fmt: skip
        if namespace is not None:
            os.close(namespace)
        os.close(writing)
        with os.fdopen(reading, "rb") as told:
            assert told.read() == b"one \0two  written"
        assert {p.name for p in (tmp_path / "tree").iterdir()} == {"program", "data", "app.conf"}

    @pytest.mark.parametrize("one_id", [True, False])
    def test_a_start_script_may_step_down(
        self, tmp_path: Path, program: bytes, *, one_id: bool
    ) -> None:
        config = ImageConfig(entrypoint=("/program", "step-down"))
        told = self.told(tmp_path, program, config, one_id=one_id)
        assert told.startswith("chown=0 setgid=0 setuid=0 uid=")

    def test_machines_of_one_image_answer_and_leave_nothing(
        self, tmp_path: Path, program: bytes
    ) -> None:
        files = made.layer(
            made.entry("program", program), made.entry("home", None),
            made.entry("srv", None), made.entry("srv/a.txt", b"shipped"),
        )  # fmt: skip
        image = made.write_layout(tmp_path / "image", [files], {**CONFIG, "User": "1000"})
        spec = small.spec(
            tmp_path, layer="hosts", images={"hello": {"cwd": "/", "archive": str(image)}}
        )
        toml = small.TOML.replace('app = "python app.py"', "").replace("[processes]", "")
        toml += '[[statics]]\nguest_path = "/srv"\nurl_prefix = "/files"\n'
        config = parse_app_config(toml, Path("fly.toml"))
        with start_world(spec) as handle:
            machines = small.deploy_hello(handle.api_url, handle.token, config=config)
            headers = {"authorization": f"Bearer {handle.token}"}
            with httpx.Client(headers=headers, trust_env=False) as client:
                world = client.get(f"{handle.api_url}/world").json()
                for region, machine in zip(("cdg", "ord"), machines, strict=True):
                    told = client.get(world["edges"][region]["hello"]).text
                    assert told.startswith(f"uid=1000 gid=0 host={machine.id} cwd=/ greeting=moin")
                    file = client.get(f"{world['edges'][region]['hello']}/files/a.txt")
                    assert (file.text, file.headers["fly-region"]) == ("shipped", region)
            found = small.Footprint.of(handle.guardian_pid, [])
            unpacked_once = list((found.base / "images").iterdir())
            assert len(unpacked_once) == 1
        small.nothing(found.left)

    def test_a_command_that_an_image_lacks_is_told(self, tmp_path: Path) -> None:
        image = made.write_layout(tmp_path / "image", [HELLO], {"Cmd": ["/program"]})
        spec = small.spec(
            tmp_path, layer="hosts", images={"hello": {"cwd": "/", "archive": str(image)}}
        )
        toml = small.TOML.replace('app = "python app.py"', "").replace("[processes]", "")
        config = parse_app_config(toml, Path("fly.toml"))
        with (
            start_world(spec) as handle,
            pytest.raises(Exception, match=r"command '/program' cannot be run: No such file"),
        ):
            small.deploy_hello(handle.api_url, handle.token, config=config)
