// Ann, whose network is cut in between, and Bob chat; Cy comes late. $RELAY and $DEMO are two ways to one chat, and of two
// origins, so that each visitor has a name of its own; $NETWORK cuts and mends the first.
const enter = async (visitor, origin, name) => {
  await visitor.setViewportSize({ width: 1000, height: 720 });
  await visitor.goto(`${origin}/chat`);
  await state(visitor, /^connected$/);
  await visitor.fill("#name", name);
  await visitor.keyboard.press("Enter");
  await here(visitor, `${name} (you)`);
};
const state = (visitor, text) => visitor.locator("#state", { hasText: text }).waitFor();
const here = (visitor, name) => visitor.locator("#here li", { hasText: name }).waitFor();
const say = async (visitor, text) => {
  await visitor.fill("#text", text);
  await visitor.keyboard.press("Enter");
};
const heard = (visitor, text) => visitor.locator("#log > .said .text").getByText(text, { exact: true }).waitFor();
const texts = (visitor) => visitor.locator("#log > .said .text").allTextContents();
const noted = (visitor, text) => visitor.locator(".note", { hasText: text }).first().waitFor();
const network = async (what) => { await fetch(`$NETWORK/${what}`); };
const picture = (visitor, name) => visitor.screenshot({ path: `$PICTURES/chat-${name}.png` });

const ann = page, bob = await context.newPage(), errors = [];
bob.on("pageerror", (error) => errors.push(String(error)));
await enter(ann, "$RELAY", "Ann");
await enter(bob, "$DEMO", "Bob");
await here(ann, "Bob");
await here(bob, "Ann");
await noted(ann, "Bob joined");

// What is said is text, whatever it is.
const attack = "<img src=x onerror=alert(1)> & <b>bold</b>";
await say(ann, "Hello Bob!");
await heard(bob, "Hello Bob!");
await say(bob, "Hello Ann. Look what I can type:");
await say(bob, attack);
await heard(ann, attack);
await say(ann, "And that is all it does.");
await heard(bob, "And that is all it does.");
const foreign = await ann.locator("#log img, #log b b, .text *").count();

// From a shell, without a name.
await fetch("$DEMO/chat/room", { method: "POST", body: "a line from curl" });
await heard(ann, "a line from curl");
for (const scheme of ["light", "dark"]) {
  await ann.emulateMedia({ colorScheme: scheme });
  await picture(ann, scheme);
}

// A cut; both go on talking.
await network("cut");
await state(ann, "reconnecting");
const missed = Array.from({ length: 7 }, (_, number) => `missed ${number}`);
for (const text of missed) await say(bob, text);
await say(ann, "said during the cut");
await ann.locator("#waiting", { hasText: "sending…" }).waitFor();
await heard(bob, missed.at(-1));
await picture(ann, "cut");
await network("mend");
await state(ann, "connected again, nothing missed");
await heard(ann, "said during the cut");
await heard(bob, "said during the cut");
await say(bob, "and on");
await heard(ann, "and on");
const [annHeard, bobHeard] = [await texts(ann), await texts(bob)];
const waiting = await ann.locator("#waiting > *").count();
await picture(ann, "after");

// Who comes late sees the last fifty.
for (let number = 1; number <= 60; number++) {
  await fetch("$DEMO/chat/room", { method: "POST", body: JSON.stringify({ name: "Dot", text: `number ${number}` }) });
}
await heard(bob, "number 60");
await bob.close();
await noted(ann, "Bob left");
await ann.locator("#here li", { hasText: "Bob" }).waitFor({ state: "detached" });
const cy = await context.newPage();
await enter(cy, "$DEMO", "Cy");
await heard(cy, "number 60");
const late = await texts(cy);

// On a phone nothing is wider than the screen, and the field to type in is in view.
await cy.setViewportSize({ width: 390, height: 844 });
await say(cy, "A longer message that a thumb typed, so that it has to wrap on a narrow screen like this one.");
await heard(ann, "A longer message that a thumb typed, so that it has to wrap on a narrow screen like this one.");
const width = await cy.evaluate(() => document.documentElement.scrollWidth);
await cy.getByLabel("Message", { exact: true }).isVisible();
await picture(cy, "phone");
return { foreign, missed, annHeard, bobHeard, waiting, late, width, errors };
