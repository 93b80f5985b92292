"""Decoded images per second on the page of task=explore, in Chromium: python benchmarks/explore.py RUN_DIR…

The page is driven from inside, an event a frame as a browser sends them: a pointer drags over the codes, then the first
slider moves. A frame counts where another image was painted since the frame before, so 60 a second is the most. Beside
them the milliseconds of an answer in the server, median. `CHROMIUM` names the browser, by default chromium.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_lab.config.build import build_data
from vae_lab.config.saved import read_config, read_model
from vae_lab.exploring import server
from vae_lab.exploring.space import LatentSpace
from vae_lab.runs.folder import RunFolder

SECONDS = 6  # of each movement
PATIENCE = 180  # seconds for a whole page

# what follows the page's own script, and so knows its functions
DRIVE = f"""
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
async function frames(move) {{
  const image = document.querySelector(".large"), own = image.getContext("2d");
  let changed = false, shown = 0, moving = true;
  const put = CanvasRenderingContext2D.prototype.putImageData;
  own.putImageData = function (...given) {{ changed = true; return put.apply(this, given); }};
  const count = () => {{ if (changed) shown += 1; changed = false; if (moving) requestAnimationFrame(count); }};
  requestAnimationFrame(count);
  const from = performance.now(), past = () => (performance.now() - from) / 1000;
  while (past() < {SECONDS}) {{ await new Promise(requestAnimationFrame); move(past()); }}
  moving = false;
  return shown / past();
}}
(async () => {{
  while (!document.querySelector(".sliders input")) await wait(50);
  await wait(4000);
  const plane = document.querySelector(".plane"), box = plane.getBoundingClientRect();
  const input = document.querySelector(".sliders input"), low = Number(input.min), high = Number(input.max);
  const drag = await frames((t) => plane.dispatchEvent(new PointerEvent("pointermove", {{ buttons: 1, pointerId: 1,
    clientX: box.left + box.width * (0.5 + 0.3 * Math.cos(2 * t)),
    clientY: box.top + box.height * (0.5 + 0.3 * Math.sin(3 * t)) }})));
  await wait(2000);
  const slide = await frames((t) => {{
    input.value = low + (high - low) * (0.5 + 0.5 * Math.sin(3 * t));
    input.dispatchEvent(new Event("input", {{ bubbles: true }}));
  }});
  const headers = {{ "X-Token": token }};
  await fetch("/ask", {{ method: "POST", headers, body: JSON.stringify({{ ask: "measured", drag, slide }}) }});
}})();
"""


class Measured(LatentSpace):
    """A latent space that keeps the seconds of its answers, and what the page measured."""

    answers: list[float]
    found: Mapping[str, Any] | None

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer, timed."""
        if question.get("ask") == "measured":
            self.found = question
            return {}
        started = time.perf_counter()
        answer = super().answer(question)
        if question.get("ask") == "decode":
            self.answers.append(time.perf_counter() - started)
        return answer


def space_of(run_dir: str) -> Measured:
    """The latent space of a run, as task=explore reads it."""
    run = RunFolder(Path(run_dir))
    saved = read_config(run, [])
    model, data = read_model(run, saved), build_data(saved)
    data.prepare_data()
    data.setup()
    space = Measured.of(model, data, run.path.name)
    space.answers, space.found = [], None
    return space


def measure(run_dir: str) -> tuple[float, float, float]:
    """Milliseconds of an answer, frames per second of a drag and of a slider."""
    space = space_of(run_dir)
    page = server.Server(space)
    thread = threading.Thread(target=page.run)
    thread.start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [os.environ.get("CHROMIUM", "chromium"), "--headless", "--no-sandbox", "--window-size=1240,1000"]
        arguments = [*command, f"--user-data-dir={profile}", page.url]
        browser = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE
        while space.found is None and time.monotonic() < until:
            time.sleep(0.2)
        browser.terminate()
        browser.wait()
    page.stop()
    thread.join()
    page.close()
    if space.found is None:
        raise TimeoutError(f"{run_dir}: the page did not end within {PATIENCE} s")
    return 1000 * statistics.median(space.answers), space.found["drag"], space.found["slide"]


def main(runs: list[str]) -> None:
    """Measure each run and print a row."""
    own_page = server.page_of
    vars(server)["page_of"] = lambda nonce: own_page(nonce).replace("</script>", DRIVE + "</script>")
    print("run                       ms an answer  frames/s: drag   slider")
    for run in runs:
        milliseconds, drag, slide = measure(run)
        print(f"{Path(run).name:25} {milliseconds:11.1f} {drag:16.1f} {slide:8.1f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
