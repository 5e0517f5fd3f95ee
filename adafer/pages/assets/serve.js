// Sends dropped pictures to this machine's adafer, one after the other, and shows the answers.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const drop = byId("drop"), files = byId("files"), mode = byId("mode");
  const status = byId("status"), results = byId("results"), clear = byId("clear");
  const maxBytes = Number(document.body.dataset.maxBytes);
  const queue = [];
  let busy = false;

  // texts become text nodes, never markup: file and class names may hold anything
  const make = (tag, options = {}, ...children) => {
    const { css, ...rest } = options;
    const node = Object.assign(document.createElement(tag), rest);
    Object.assign(node.style, css);
    node.append(...children);
    return node;
  };
  const percent = (share) => `${Math.round(100 * share)} %`;
  const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

  const bars = (caption, rows) => make("div", {},
    make("h3", {}, caption),
    make("table", {}, make("tbody", {}, ...rows.map(({ name, more, share, first }) =>
      make("tr", { className: first ? "first" : "" },
        make("th", { scope: "row" }, name, ...(more ? [make("small", {}, more)] : [])),
        make("td", { className: "bar" },
          make("div", {}, make("div", { css: { width: `${100 * share}%` } }))),
        make("td", { className: "number" }, percent(share)))))));

  const showFace = (face, number, several) => {
    const crop = make("figure", {},
      make("img", { src: face.crop, alt: "" }),
      make("figcaption", {}, several ? `Face ${number}, as the network saw it` : "As the network saw it"));
    const expressions = [...face.expressions].sort((a, b) => b.probability - a.probability);
    const left = bars("Expression", expressions.map((row) =>
      ({ name: row.name, share: row.probability, first: row.name === face.label })));
    const right = face.aus
      ? bars("Action units", face.aus.map((au) => ({ name: au.name, more: au.meaning, share: au.score })))
      : make("div", {}, make("h3", {}, "Action units"),
        make("p", { className: "quiet" }, "None: no landmarks of a face were found."));
    return make("section", { className: "face" }, crop, left, right);
  };

  const showAnswer = (article, answer, name) => {
    const several = answer.faces.length > 1;
    const picture = make("div", { className: "picture" },
      make("img", { src: answer.preview, alt: `${name}, with a box around each face` }));
    if (Math.max(answer.width, answer.height) < 200) picture.classList.add("small");
    answer.faces.forEach(({ box }, i) => {
      if (!box) return;
      const [left, top, width, height] = box.map((part) => `${100 * part}%`);
      picture.append(make("div", { className: "box", css: { left, top, width, height } },
        ...(several ? [make("span", {}, String(i + 1))] : [])));
    });
    article.append(picture);
    for (const note of answer.notes) article.append(make("p", { className: "quiet" }, note));
    answer.faces.forEach((face, i) => article.append(showFace(face, i + 1, several)));
  };

  const ask = async (file) => {
    if (file.size > maxBytes) {
      return { error: `The file has more than ${maxBytes / 2 ** 20} MB. Make the picture smaller.` };
    }
    for (let attempt = 0; ; attempt++) {
      try {
        const response = await fetch("/analyse", {
          method: "POST", body: file, headers: { "X-Adafer-Mode": mode.value },
        });
        if ([429, 503].includes(response.status) && attempt < 30) {
          await wait(Number(response.headers.get("Retry-After")) || 1);
          continue;
        }
        return await response.json();
      } catch {
        return { error: "adafer does not answer. Is `adafer serve` still running?" };
      }
    }
  };

  const work = async () => {
    if (busy) return;
    busy = true;
    let done = 0;
    while (queue.length) {
      const { file, article } = queue.shift();
      status.textContent = `Looking at ${file.name} ...`;
      const answer = await ask(file);
      article.removeAttribute("aria-busy");
      if (answer.error) article.append(make("p", { className: "wrong" }, answer.error));
      else showAnswer(article, answer, file.name);
      done += 1;
    }
    busy = false;
    status.textContent = `${done} ${done === 1 ? "picture" : "pictures"} looked at.`;
  };

  const take = (list) => {
    for (const file of list) {
      const article = make("article", {}, make("h2", {}, file.name));
      article.setAttribute("aria-busy", "true");
      results.append(article);
      queue.push({ file, article });
    }
    clear.hidden = false;
    work();
  };

  files.addEventListener("change", () => { take(files.files); files.value = ""; });
  clear.addEventListener("click", () => {
    queue.length = 0;
    results.replaceChildren();
    status.textContent = "";
    clear.hidden = true;
    files.focus();
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });
})();
