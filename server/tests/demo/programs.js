// A clock that goes on, and a talk with the greeter to its end and anew. Pictures on the way.
const log = page.locator("#talk");
const heard = (text) => log.locator(".text:not(.mine)").getByText(text, { exact: true }).waitFor();
const say = async (text) => {
  await page.fill("#text", text);
  await page.keyboard.press("Enter");
};
const picture = (name) => page.screenshot({ path: `$PICTURES/programs-${name}.png`, fullPage: true });
await page.setViewportSize({ width: 1000, height: 900 });

const face = page.locator("#face");
await page.waitForFunction(() => document.querySelector("#face").textContent.includes(":"));
const first = await face.textContent();
await heard("Hello! What is your name?");
const attack = "<b>Ann</b> $(id) `id` ; id";
await say(attack);
await log.locator(".text", { hasText: "Nice to meet you" }).waitFor();
const greeting = await log.locator(".text").nth(2).textContent();
await say("what time is it?");
await log.locator(".text", { hasText: /^It is \d\d:\d\d:\d\d\.$/ }).waitFor();
await say("a plain word");
await heard("You say: a plain word");
await page.locator("details").evaluate((it) => { it.open = true; });
for (const scheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme: scheme });
  await picture(scheme);
}
await page.locator("details").evaluate((it) => { it.open = false; });
await page.waitForFunction((first) => document.querySelector("#face").textContent !== first, first);

await say("bye");
await log.locator(".note", { hasText: "come to its end" }).waitFor();
// The button has the focus.
await page.keyboard.press("Enter");
await page.locator("#text").waitFor();
await log.locator(".text", { hasText: "Hello! What is your name?" }).nth(1).waitFor();

await page.setViewportSize({ width: 390, height: 844 });
await say("Zoë");
await log.locator(".text", { hasText: "Nice to meet you, Zoë." }).waitFor();
const width = await page.evaluate(() => document.documentElement.scrollWidth);
await picture("phone");
return { greeting, attack, width, foreign: await page.locator("#talk b").count(), config: await page.textContent("#config") };
