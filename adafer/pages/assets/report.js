// Shows what a point stands for, when it is pointed at or reached by the arrow keys.
"use strict";
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  let near = null;

  const hide = () => {
    if (near) near.classList.remove("near");
    near = null;
    tip.hidden = true;
  };
  const show = (dot) => {
    hide();
    near = dot;
    dot.classList.add("near");
    tip.replaceChildren();
    if (dot.dataset.face) {
      const face = document.createElement("img");
      face.src = dot.dataset.face;
      face.alt = "";
      tip.append(face);
    }
    tip.append(dot.dataset.tip);
    tip.hidden = false;
    const at = dot.getBoundingClientRect();
    const page = document.documentElement;
    const right = at.right + 12 + tip.offsetWidth < page.clientWidth;
    const left = right ? at.right + 8 : Math.max(4, at.left - 8 - tip.offsetWidth);
    const top = Math.max(4, Math.min(at.top, page.clientHeight - tip.offsetHeight - 4));
    tip.style.left = `${left + window.scrollX}px`;
    tip.style.top = `${top + window.scrollY}px`;
  };

  for (const chart of document.querySelectorAll("[data-hover]")) {
    const dots = [...chart.querySelectorAll("[data-tip]")];
    chart.addEventListener("pointerover", (event) => {
      if (event.target.dataset.tip) show(event.target); else hide();
    });
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step || !dots.length) return;
      event.preventDefault();
      const from = dots.indexOf(near);
      const to = from < 0 ? (step > 0 ? 0 : dots.length - 1) : from + step;
      show(dots[(to + dots.length) % dots.length]);
    });
  }
})();
