// From the plain page by its link to the one over TLS: HTTP/2, answers, and a program over a WebSocket.
await page.waitForSelector("#secured:not([hidden]) a");
const link = await page.getAttribute("#secured a", "href");
await page.click("#secured a");
await page.waitForFunction(() => Number(document.querySelector("#answered").textContent) > 3);
const answered = Number(await page.textContent("#answered"));
const protocol = await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol);
const curl = await page.textContent("#curl");
const hidden = await page.isHidden("#secured");
await page.screenshot({ path: "$PICTURES/demo-tls.png" });
const said = await page.evaluate(() => new Promise((done, fail) => {
  const socket = new WebSocket(new URL("/programs/greeter", location.href.replace("https:", "wss:")));
  socket.onmessage = ({ data }) => done(data);
  socket.onerror = () => fail(new Error("no WebSocket"));
}));
return { link, answered, protocol, curl, hidden, said };
