"use strict";
// Which passage is shown, and the blind test. Moves and unhides what the page holds; never writes a text of the author's.
(() => {
  const sample = document.getElementById("sample");
  if (sample) {
    const show = () => document.querySelectorAll(".sample").forEach((one) => { one.hidden = one.dataset.number !== sample.value; });
    sample.parentElement.hidden = false;
    sample.addEventListener("change", show);
    show();
  }

  const game = document.querySelector(".game");
  if (!game) return;
  const rounds = [...game.querySelectorAll(".round")];
  const outcome = game.querySelector(".outcome");
  let right = 0;

  // FNV-1a, as game.render_key has it: the answer can be checked, and not read.
  const hash = (text) => {
    let value = 0x811c9dc5;
    for (const letter of text) value = Math.imul(value ^ letter.charCodeAt(0), 0x01000193) >>> 0;
    return value.toString(16).padStart(8, "0");
  };
  const isReal = (round, place) => hash(`${game.dataset.seed}/${round.dataset.number}/${place}`) === round.dataset.key;

  const show = (round) => {
    rounds.forEach((one) => { one.hidden = one !== round; });
    outcome.hidden = Boolean(round);
    if (!round) outcome.querySelectorAll("[data-right]").forEach((one) => { one.hidden = Number(one.dataset.right) !== right; });
  };

  const decide = (round) => {
    const chosen = round.querySelector("input:checked");
    const answer = round.querySelector(".answer");
    if (!chosen) {
      answer.textContent = "Choose one of the two first.";
      round.querySelector("input").focus();
      return;
    }
    const won = isReal(round, chosen.value);
    right += won ? 1 : 0;
    round.dataset.decided = "yes";
    round.querySelectorAll("input").forEach((input) => {
      const told = input.closest(".choice").querySelector(".told");
      const real = isReal(round, input.value);
      told.textContent = real ? "the real one" : "the adapter’s";
      told.hidden = false;
      input.closest(".choice").classList.add(real ? "is-real" : "is-written");
      input.disabled = true;
    });
    const place = [...round.querySelectorAll("input")].find((input) => isReal(round, input.value)).value;
    const next = round === rounds.at(-1) ? "See the result" : "Next question";
    answer.textContent = `${won ? "Right" : "Wrong"}: text ${place} is the real one. ${right} of ${round.dataset.number} right so far.`;
    const button = round.querySelector("button");
    button.textContent = next;
    button.focus();
  };

  const goOn = (round) => {
    const next = rounds[rounds.indexOf(round) + 1];
    show(next);
    (next ? next.querySelector("h3") : outcome).focus();
  };

  const restart = () => {
    right = 0;
    rounds.forEach((round) => {
      round.reset();
      delete round.dataset.decided;
      round.querySelectorAll("input").forEach((input) => { input.disabled = false; });
      round.querySelectorAll(".told").forEach((told) => { told.hidden = true; told.textContent = ""; });
      round.querySelectorAll(".choice").forEach((choice) => choice.classList.remove("is-real", "is-written"));
      round.querySelector(".answer").textContent = "";
      round.querySelector("button").textContent = "Decide";
    });
    show(rounds[0]);
  };

  rounds.forEach((round) => {
    const choose = (place) => {
      if (round.dataset.decided) return;
      const input = round.querySelectorAll("input")[place];
      input.checked = true;
      input.focus();
    };
    const act = () => (round.dataset.decided ? goOn : decide)(round);
    round.addEventListener("submit", (event) => { event.preventDefault(); act(); });
    round.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const place = { 1: 0, 2: 1, ArrowLeft: 0, ArrowRight: 1 }[event.key];
      if (place !== undefined && !round.dataset.decided) {
        event.preventDefault();
        choose(place);
      } else if (event.key === "Enter" && event.target.tagName !== "BUTTON") {
        event.preventDefault();
        act();
      }
    });
    round.querySelectorAll(".passage").forEach((passage, place) => passage.addEventListener("click", () => choose(place)));
  });
  outcome.querySelector(".again").addEventListener("click", () => { restart(); rounds[0].querySelector("h3").focus(); });

  game.hidden = false;
  restart();
})();
