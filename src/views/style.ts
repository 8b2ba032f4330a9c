/** Colour and width of the terminal: views receive a style, and never look at the terminal. */
import { styleText } from "node:util";

export interface Style {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly warn: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly bold: (text: string) => string;
  /** Columns of a line; infinite without a terminal. */
  readonly width: number;
}

const same = (text: string) => text;

export const plainStyle: Style = { good: same, bad: same, warn: same, dim: same, bold: same, width: Infinity };

const paint = (format: Parameters<typeof styleText>[0]) => (text: string) =>
  styleText(format, text, { validateStream: false });

export const colourStyle: Style = {
  good: paint("green"),
  bad: paint("red"),
  warn: paint("yellow"),
  dim: paint("dim"),
  bold: paint("bold"),
  width: Infinity,
};
