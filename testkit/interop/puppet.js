// What the scripts for Node share: an order is a line of JSON on stdin, an event one on stdout.
import { createInterface } from "node:readline";

export const tell = (event) => console.log(JSON.stringify(event));

// The first key of an order is its name.
export async function obey(orders) {
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    const [name] = Object.keys(order);
    orders[name](order[name], order);
  }
}
