// An EventSource of npm's `eventsource`. Starts with {"url"}; tells with what it asks, and what comes.
import { EventSource } from "eventsource";
import { tell } from "./puppet.js";

const { url } = JSON.parse(process.argv[2]);
let broke;
const source = new EventSource(url, {
  fetch: (input, init) => {
    tell({ asks: init.headers["Last-Event-ID"] ?? null, after: broke && Math.round(performance.now() - broke) });
    return fetch(input, init);
  },
});
source.onopen = () => tell({ open: source.readyState });
source.onmessage = ({ data, lastEventId }) => tell({ message: data, id: lastEventId });
source.onerror = ({ code }) => {
  broke = performance.now();
  tell({ error: code ?? null, state: source.readyState });
};
for (const name of ["subscribed", "join", "leave", "reset", "binary"]) {
  source.addEventListener(name, ({ data, lastEventId }) => tell({ [name]: data, id: lastEventId }));
}
