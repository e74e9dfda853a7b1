// A talk by hand: connect, say, look back in what was sent, see bytes, be ended, come back, scroll, clear. Pictures on the way.
const state = (text) => page.locator("#state", { hasText: new RegExp(`^${text}$`) }).waitFor();
const got = (text) => page.locator(".got .text", { hasText: text }).last().waitFor();
const say = async (text) => {
  await page.fill("#text", text);
  await page.keyboard.press("Enter");
};
// Without what is there for those who listen only.
const texts = (kind) => page.locator(`${kind} .text`).evaluateAll((all) => all.map((it) =>
  Array.from(it.childNodes).filter((node) => node.className !== "hidden").map((node) => node.textContent).join("")));
const picture = (name) => page.screenshot({ path: `$PICTURES/console-${name}.png` });
const states = [];
await page.setViewportSize({ width: 1100, height: 720 });

const url = await page.inputValue("#url");
await picture("start");
// The button has the focus.
await page.keyboard.press("Enter");
await state("connected");
states.push(await page.textContent("#state"));
await got("hello from");
const hello = (await texts(".got"))[0];

// The message has the focus now.
for (const text of ["one", "two"]) {
  await page.keyboard.type(text);
  await page.keyboard.press("Enter");
  await got(text);
}
const echo = (await texts(".got")).slice(1);
const foreign = await page.locator(".text b").count();

const history = [];
await page.keyboard.type("a draft");
for (const key of ["ArrowUp", "ArrowUp", "ArrowUp", "ArrowDown", "ArrowDown"]) {
  await page.keyboard.press(key);
  history.push(await page.inputValue("#text"));
}

await say("bytes");
await page.locator(".got.bytes").waitFor();
const bytes = (await texts(".got.bytes"))[0];
for (const scheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme: scheme });
  await picture(scheme);
}

// The program ends; the page says so, and goes on with another one.
await say("bye");
await state("not connected");
states.push(await page.textContent("#state"));
await page.locator(".note", { hasText: "Disconnected" }).waitFor();
const notes = await texts(".note");
await page.keyboard.press("Enter");
await state("connected");
states.push(await page.textContent("#state"));

// Who reads further up is left there; who is at the end goes along.
const isAtEnd = () => page.evaluate(() => { const log = document.querySelector("#log"); return log.scrollHeight - log.scrollTop - log.clientHeight < 2; });
await say("many");
await page.locator(".got .text", { hasText: /^(received: )?100$/ }).waitFor();
const kept = [];
await page.evaluate(() => { document.querySelector("#log").scrollTop = 0; });
await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
await page.evaluate(() => socket.send("quiet"));
await got("quiet");
kept.push(await page.evaluate(() => document.querySelector("#log").scrollTop === 0));
await page.click("#newest");
await say("at the end");
await got("at the end");
kept.push(await isAtEnd());

await page.setViewportSize({ width: 390, height: 844 });
await say("a message of a phone, which is long enough that it has to wrap on a narrow screen like this one");
await got("a message of a phone");
await say("bytes");
await page.locator(".got.bytes").nth(1).waitFor();
const width = await page.evaluate(() => document.documentElement.scrollWidth);
await picture("phone-dark");
await page.emulateMedia({ colorScheme: "light" });
await picture("phone-light");
await page.click("#clear");
const cleared = await page.locator("#log > li").count();
return { url, hello, echo, foreign, history, bytes, state: states, notes, kept, cleared, width };
