"""A latent space that a page or a widget asks: the answers, who may ask, and that nothing is written."""

import base64
import html
import http.client
import json
import shutil
import subprocess
import threading
import urllib.parse
from contextlib import closing, contextmanager

import pytest
import torch

import vae_lab
from helpers import SHAPE, call, digits, small_vae
from test_by_hand import composed
from vae_lab.config.build import build_model
from vae_lab.errors import ConfigError, NotOffered, UserError
from vae_lab.evaluation.dimensions import kl_of_dimensions
from vae_lab.exploring import server as server_file
from vae_lab.exploring.space import LatentSpace, QuestionError

IMAGES, LABELS = digits(40)


def space(latent: int = 3) -> LatentSpace:
    return LatentSpace(small_vae(latent), IMAGES / 255, LABELS, [str(label) for label in range(10)], IMAGES, "a run")


def pixels(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8).view(SHAPE) / 255


def test_the_image_of_a_code_is_the_decoded_one():
    explored = space()
    z = [0.5, -1.0, 2.0]
    found = explored.answer({"ask": "decode", "z": z})
    expected = explored.model.decode(torch.tensor(z))
    torch.testing.assert_close(pixels(found["image"]), expected, atol=1 / 255, rtol=0)


def test_the_points_are_the_codes_in_the_plane_that_the_page_is_told():
    explored = space()
    facts = explored.answer({"ask": "overview"})
    points = torch.frombuffer(bytearray(base64.b64decode(facts["points"])), dtype=torch.float32).view(-1, 2)
    off = explored.codes - torch.tensor(facts["centre"]) - points @ torch.tensor(facts["axes"])
    torch.testing.assert_close(off @ torch.tensor(facts["axes"]).T, torch.zeros(40, 2), atol=1e-4, rtol=0)
    assert facts["labels"] == LABELS.tolist()
    assert len(facts["low"]) == len(facts["high"]) == len(facts["code"]) == 3
    assert facts["points_are"] == "codes of 40 test images"
    drawn = torch.tensor(explored.answer({"ask": "sample", "n": 24, "seed": 0, "temperature": 1.0})["codes"])
    assert (drawn > torch.tensor(facts["low"])).all()
    assert (drawn < torch.tensor(facts["high"])).all()


def test_the_most_active_dimension_comes_first_with_its_kl():
    explored = space()
    facts = explored.answer({"ask": "overview"})
    (kls,) = kl_of_dimensions(explored.model, explored.images)
    assert facts["activity"] == pytest.approx(kls.tolist())
    assert facts["activity_is"] == "KL in nats"
    assert [facts["activity"][i] for i in facts["order"]] == sorted(facts["activity"], reverse=True)
    assert facts["dimensions"] == ["z₁", "z₂", "z₃"]


@pytest.mark.parametrize("latent", [1, 2, 3])
def test_one_image_is_enough(latent):
    explored = LatentSpace(small_vae(latent), IMAGES[:1] / 255)
    facts = json.loads(json.dumps(explored.answer({"ask": "overview"}), allow_nan=False))
    assert (facts["count"], facts["points_are"], len(facts["axes"])) == (1, "codes of 1 test image", 2)


def test_a_model_that_diverged_is_refused():
    model = small_vae()
    for weights in model.parameters():
        weights.data.fill_(torch.nan)
    with pytest.raises(UserError, match="diverged"):
        LatentSpace(model, IMAGES / 255)


def test_a_test_image_comes_with_its_code_and_label():
    explored = space()
    found = explored.answer({"ask": "image", "index": 7})
    torch.testing.assert_close(pixels(found["image"]), IMAGES[7] / 255, atol=1 / 255, rtol=0)
    torch.testing.assert_close(torch.tensor(found["z"]), explored.model.encode(IMAGES[7:8])[0])
    assert found["label"] == "7"


def test_temperature_scales_draws_about_the_mean_of_the_prior():
    explored = space()
    one, half, cold = (
        torch.tensor(explored.answer({"ask": "sample", "n": 9, "seed": 3, "temperature": heat})["codes"])
        for heat in (1, 0.5, 0)
    )
    middle = explored.prior_mean
    torch.testing.assert_close(half - middle, (one - middle) / 2)
    torch.testing.assert_close(cold, middle.expand(9, -1))
    assert one.std() > 0.5


def test_the_nearest_training_image_is_found():
    explored = space()
    explored.model.decode = lambda z: (IMAGES[11] / 255).expand(*z.shape[:-1], *SHAPE)
    found = explored.answer({"ask": "nearest", "z": [0.0, 0.0, 0.0]})
    assert (LABELS[found["index"]], found["distance"]) == (LABELS[11], pytest.approx(0, abs=0.05))


def test_a_model_without_an_encoder_shows_draws_and_one_without_codes_is_refused():
    small = ("hidden_dims=[8,8]", "latent_dim=3")
    facts = LatentSpace(build_model(composed("model=gan", *small), SHAPE), IMAGES / 255).answer({"ask": "overview"})
    assert (facts["count"], facts["points_are"]) == (0, "codes of 2,000 draws of the prior")
    assert (facts["order"], facts["activity"]) == ([0, 1, 2], None)
    model = composed("model=autoregressive", "decoder=pixelcnn", "decoder.layers=2", "decoder.width=4")
    with pytest.raises(NotOffered, match="codes"):
        LatentSpace(build_model(model, SHAPE), IMAGES / 255)


BAD = [
    *(
        {"ask": "decode", "z": z}
        for z in (None, [], [1.0], [1, 2, "3"], [1, 2, float("nan")], [1, 2, 1e9], [1, 2, True])
    ),
    *({"ask": "image", "index": index} for index in (-1, 40, 1.5, True, None)),
    *({"ask": "sample", "n": n, "seed": 0, "temperature": 1} for n in (0, 65, 10**9)),
    {"ask": "sample", "n": 1, "seed": -1, "temperature": 1},
    *({"ask": "sample", "n": 1, "seed": 0, "temperature": heat} for heat in (5, -1, None, "1", float("nan"))),
    *({"ask": ask} for ask in ("answer", "__init__", None, [], {})),
    {},
    [],
    "overview",
]


@pytest.mark.parametrize("question", BAD, ids=str)
def test_a_question_without_sense_is_refused(question):
    with pytest.raises(QuestionError):
        space().answer(question)


# --- the server ---------------------------------------------------------------------------------------------------


@contextmanager
def served():
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    from vae_lab.exploring.server import Server

    server = Server(space())
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
        server.close()


def request(server, path="/ask", body='{"ask": "overview"}', method="POST", **headers):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), reply.headers


def test_only_the_token_opens_the_page_and_only_for_this_machine():
    with served() as server:
        token, mine = {"X-Token": server.token}, f"127.0.0.1:{server.port}"
        assert server.socket.getsockname()[0] == "127.0.0.1"
        assert len(server.token) >= 40
        page = urllib.parse.urlsplit(server.url)
        status, text, headers = request(server, f"/?{page.query}", None, "GET")
        assert (status, "<canvas" in text or "start(" in text) == (200, True)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
        assert request(server, **token)[0] == 200
        for wrong in ({}, {"X-Token": ""}, {"X-Token": server.token[:-1]}, {"X-Token": server.token + "x"}):
            assert request(server, **wrong)[0] == 403
        for path in ("/", "/?token=", "/?token=wrong", "/ask", "/anything"):
            assert request(server, path, None, "GET")[0] == 403
        for host in (
            "evil.example",
            f"evil.example:{server.port}",
            "127.0.0.1",
            f"{mine}.evil.example",
            "127.0.0.1:1",
            "",
        ):
            assert request(server, Host=host, **token)[0] == 403
        assert request(server, Host=f"localhost:{server.port}", **token)[0] == 200
        assert request(server, "/../page.html", None, "GET", **token)[0] == 404


def test_only_port_80_may_be_left_out_of_the_host():
    assert server_file.Guard(None, "token", 80).hosts == {
        b"127.0.0.1:80", b"localhost:80", b"127.0.0.1", b"localhost"
    }  # fmt: skip
    assert server_file.Guard(None, "token", 8080).hosts == {b"127.0.0.1:8080", b"localhost:8080"}


def test_bad_questions_do_no_harm_to_the_server():
    with served() as server:
        token = {"X-Token": server.token}
        for body in (
            "",
            "{",
            "[]",
            "null",
            '{"ask": "decode"}',
            "[" * 100_000,
            '{"ask": {}}',
            "\udc80".encode("utf-8", "surrogatepass"),
        ):
            assert request(server, body=body, **token)[0] == 400
        assert request(server, body="x" * 2_000_000, **token)[0] == 413
        assert json.loads(request(server, body='{"ask": "decode", "z": [0, 0, 1]}', **token)[1])["image"]


def test_a_port_that_is_taken_is_named():
    from vae_lab.exploring.server import Server

    with served() as server, pytest.raises(ConfigError, match=f"explore.port={server.port}: cannot be used"):
        Server(space(), server.port)


# --- the page -----------------------------------------------------------------------------------------------------

# says in the page's title what a user would see, before and after the program ends
USER = """
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const all = (which) => [...document.querySelectorAll(which)], one = (which) => document.querySelector(which);
const pixels = () => one(".large").getContext("2d").getImageData(0, 0, 28, 28).data.join();
(async () => {
  while (!one(".sample")) await wait(10);
  await wait(200);
  const seen = { heading: one("h1").textContent, sliders: all(".sliders span").map((node) => node.textContent) };
  const mean = pixels(), dot = one(".dot").style.left;
  one(".frame").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", shiftKey: true }));
  await wait(200);
  seen.moved = [pixels() !== mean, one(".dot").style.left !== dot, one(".error").textContent];
  one(".sliders input").value = 100;
  one(".sliders input").dispatchEvent(new Event("input"));
  await wait(200);
  seen.code = all(".sliders output").map((node) => node.textContent);
  window.fetch = () => Promise.reject(new TypeError("refused")); // as where nobody listens
  one(".head button").click();
  await wait(100);
  seen.error = one(".error").textContent;
  document.title = "seen " + JSON.stringify(seen);
})();
"""


def test_a_page_in_a_browser_shows_what_its_user_asks_for(monkeypatch):
    browser = shutil.which("chromium") or shutil.which("google-chrome") or pytest.skip("no browser")
    page_of = server_file.page_of
    monkeypatch.setattr(server_file, "page_of", lambda nonce: page_of(nonce).replace("</script>", USER + "</script>"))
    words = ["--headless", "--no-sandbox", "--virtual-time-budget=8000", "--dump-dom"]
    with served() as server:
        page = subprocess.run([browser, *words, server.url], capture_output=True, text=True, timeout=60).stdout
        facts = json.loads(request(server, **{"X-Token": server.token})[1])
    seen = json.loads(html.unescape(page.partition("<title>seen ")[2].partition("</title>")[0]))
    assert seen["heading"] == "latent space of a run"
    assert seen["sliders"] == [f"{facts['dimensions'][i]} · {facts['activity'][i]:.2f}" for i in facts["order"]]
    assert seen["moved"] == [True, True, ""]
    assert float(seen["code"][0]) == pytest.approx(facts["high"][facts["order"][0]], abs=0.05)
    assert "the program has ended" in seen["error"]


# --- the task -----------------------------------------------------------------------------------------------------


def files(folder):
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("small_files")
def test_the_task_prints_its_address_and_writes_nothing(tiny_run, tmp_path, monkeypatch):
    pytest.importorskip("uvicorn")
    asked = []

    def run(server):
        asked.append(server.url)
        raise KeyboardInterrupt

    monkeypatch.setattr("vae_lab.exploring.server.Server.run", run)
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    answer = call("task=explore", f"run_dir={tiny_run}", "explore.browser=false")
    assert (answer.code, answer.err) == (0, "")
    assert asked[0] in answer.out
    assert files(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run_dir=nowhere",), "run_dir=nowhere: there is no such folder"),
        ((), "needs a finished run; add run_dir=FOLDER"),
        (("run_dir=run", "latent_dim=3"), "takes only run_dir"),
        (("run_dir=run", "explore.port=70000"), "explore.port=70000"),
        (("run_dir=run", "explore.prt=1"), "did you mean explore.port"),
    ],
)
@pytest.mark.usefixtures("small_files")
def test_a_mistake_of_the_task_is_one_line(tiny_run, monkeypatch, words, said):
    monkeypatch.chdir(tiny_run.parent)
    answer = call("task=explore", "explore.browser=false", *words)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


def test_a_strangers_folder_is_refused(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny_run / "config.yaml"
    config.write_text(config.read_text().replace("vae_lab.models.VAE", "os.system"))
    answer = call("task=explore", "run_dir=run", "explore.browser=false")
    assert (answer.code, "only vae_lab's own parts" in answer.err) == (2, True)
    config.unlink()
    config.symlink_to("/etc/passwd")
    answer = call("task=explore", "run_dir=run", "explore.browser=false")
    assert answer.code == 2
    assert "root:" not in answer.err


# --- a notebook ---------------------------------------------------------------------------------------------------


def test_a_folders_name_is_no_model():
    with pytest.raises(UserError, match=r"explore takes a run or a model, and this is a str; use vae_lab.load"):
        vae_lab.explore("outputs/runs/mine")


def test_a_widget_asks_the_kernel(monkeypatch):
    pytest.importorskip("anywidget")
    widget = vae_lab.explore(small_vae(), IMAGES.numpy(), LABELS.numpy())
    sent = []
    monkeypatch.setattr(widget, "send", sent.append)
    for number, question in enumerate(({"ask": "overview"}, {"ask": "decode", "z": [0.0, 1.0]}, {"ask": "decode"})):
        widget._handle_custom_msg({"number": number, "question": question}, [])
    assert [message["number"] for message in sent] == [0, 1, 2]
    assert sent[0]["answer"]["count"] == 40
    assert pixels(sent[1]["answer"]["image"]).shape == SHAPE
    assert "z is a list of 2 numbers" in sent[2]["answer"]["error"]
