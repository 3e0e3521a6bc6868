// Tables of comma-separated values, written and read (RFC 4180).

// A cell that a spreadsheet would run is made a text by an apostrophe.
function csvCell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? "'" + text : text;
  return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
}

const toCsv = (columns, rows) => [columns, ...rows.map((row) => columns.map((name) => row[name]))]
  .map((cells) => cells.map(csvCell).join(",") + "\r\n").join("");

// Return the rows as Maps from column to text.
function fromCsv(text) {
  const lines = [[""]];
  let quoted = false;
  for (let at = text.startsWith("\ufeff") ? 1 : 0; at < text.length; at++) {
    const character = text[at];
    const line = lines[lines.length - 1];
    if (quoted) {
      if (character !== '"') line[line.length - 1] += character;
      else if (text[at + 1] === '"') line[line.length - 1] += text[++at];
      else quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === ",") line.push("");
    else if (character === "\n") lines.push([""]);
    else if (character !== "\r") line[line.length - 1] += character;
  }
  const [columns, ...rows] = lines.filter((line) => line.length > 1 || line[0] !== "");
  return rows.map((cells) => new Map((columns || []).map((name, index) => [name, cells[index] ?? ""])));
}
