// Looks at a list in light, dark and at the width of a phone; follows an odd name; sorts; walks by the keyboard.
const names = () => page.locator("tbody a").allTextContents();
await page.setViewportSize({ width: 1000, height: 700 });
for (const colorScheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme });
  await page.screenshot({ path: `$PICTURES/files-${colorScheme}.png`, fullPage: true });
}
const first = (await names()).filter((name) => name !== "..");
await page.getByText("<b>odd").click();
const odd = await page.textContent("body");
await page.goBack();
await page.getByRole("link", { name: "Size", exact: true }).click();
await page.getByRole("link", { name: "Size ↑", exact: true }).click();
const largest = (await names()).filter((name) => !name.endsWith("/") && name !== "..")[0];
await page.getByRole("link", { name: "Name", exact: true }).click();
await page.getByText("..", { exact: true }).focus();
await page.keyboard.press("Tab");
await page.keyboard.press("Enter");
await page.waitForURL("**/archive/");
const keyboard = new URL(page.url()).pathname;
await page.goBack();
await page.setViewportSize({ width: 390, height: 844 });
const width = await page.evaluate(() => document.documentElement.scrollWidth);
await page.screenshot({ path: "$PICTURES/files-phone.png", fullPage: true });
return { names: first, odd: odd.trim(), largest, keyboard, width };
