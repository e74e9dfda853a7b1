// At the width of a phone: stops all three by their keys; takes a picture; nothing may be wider than the screen.
await page.setViewportSize({ width: 390, height: 844 });
await page.locator("li[data-name=three]").waitFor();
for (const [key, name] of [["1", "one"], ["2", "two"], ["3", "three"]]) {
  await page.keyboard.press(key);
  await page.locator(`li[data-name=${name}].stopped`).waitFor();
}
const width = await page.evaluate(() => document.documentElement.scrollWidth);
await page.waitForFunction(() => Number(document.querySelector("#failed").textContent) > 0);
const word = await page.textContent("#word");
await page.screenshot({ path: "$PICTURES/demo-phone.png", fullPage: true });
return { width, word };
