// SPDX-License-Identifier: Apache-2.0
/**
 * Completions for shells, as scripts that have the command line in them: on a board a program that was asked at each
 * keystroke would take half a second to start.
 *
 * @module
 */
import type { Place, TableOption } from "./table.ts";

const HEAD = "# Written by viola install.";

const single = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** The words that lead to places, one a line: "device sound". */
function paths(places: readonly Place[]): string[] {
  return places.map(({ words }) => words).filter((words) => words !== "");
}

/** The options with values, of all places. */
function withValues(places: readonly Place[]): { place: Place; option: TableOption }[] {
  return places.flatMap((place) =>
    place.options.filter(({ values }) => values !== null).map((option) => ({ place, option }))
  );
}

/** The lines that find the place: $place, of the words before the one that is completed. */
function placeLoop(places: readonly Place[], loop: string, done: string): string {
  const known = paths(places).map((words) => `"${words}"`).join(" | ");
  return `  ${loop}
    case "\${place:+$place }$word" in
      ${known}) place="\${place:+$place }$word" ;;
    esac
  ${done}`;
}

/** For bash (bash(1), Programmable Completion). */
export function bashCompletion(places: readonly Place[]): string {
  const values = withValues(places).map(({ place: { words }, option: { long, values } }) =>
    `    "${words} ${long}") values=${single(values!.join(" "))} ;;`
  );
  const words = places.map(({ words, next, options }) =>
    `    "${words}") next=${single(next.map(({ word }) => word).join(" "))} options=${
      single(options.map(({ long }) => long).join(" "))
    } ;;`
  );
  return `${HEAD}
_viola() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} place= word next= options= values=none
${placeLoop(places, 'for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do', "done")}
  case "$place $prev" in
${values.join("\n")}
  esac
  case "$place" in
${words.join("\n")}
  esac
  if [[ $values != none ]]; then
    next=$values
  elif [[ $cur == -* ]]; then
    next=$options
  fi
  # Without words of its own, what is completed is the name of a file.
  COMPREPLY=($(compgen -W "$next" -- "$cur"))
}
complete -o bashdefault -o default -F _viola viola
`;
}

/** For zsh (zshcompsys(1)). */
export function zshCompletion(places: readonly Place[]): string {
  const item = (word: string, description: string) =>
    single(`${word.replaceAll(":", "\\:")}:${description}`);
  const values = withValues(places).map(({ place: { words }, option: { long, values } }) =>
    values!.length === 0
      ? `    "${words} ${long}") _files; return ;;`
      : `    "${words} ${long}") compadd -- ${values!.map(single).join(" ")}; return ;;`
  );
  const words = places.map(({ words, next, options }) =>
    `    "${words}")
      next=(${next.map(({ word, description }) => item(word, description)).join(" ")})
      options=(${options.map(({ long, description }) => item(long, description)).join(" ")}) ;;`
  );
  return `#compdef viola
${HEAD}
_viola() {
  local place word
  local -a next options
${placeLoop(places, "for word in ${words[2,CURRENT-1]}; do", "done")}
  case "$place \${words[CURRENT-1]}" in
${values.join("\n")}
  esac
  case "$place" in
${words.join("\n")}
  esac
  if [[ \${words[CURRENT]} == -* ]]; then
    _describe option options
  elif (( \${#next} > 0 )); then
    _describe command next
  else
    _files
  fi
}
if [[ "$funcstack[1]" == _viola ]]; then _viola "$@"; else compdef _viola viola; fi
`;
}

/** For fish (complete(1)). */
export function fishCompletion(places: readonly Place[]): string {
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = places.flatMap(({ words, next, options }) => {
    const at = `complete -c viola -n ${quoted(`__viola_at ${words}`.trim())}`;
    return [
      ...next.map(({ word, description }) => `${at} -f -a ${word} -d ${quoted(description)}`),
      ...options.map(({ long, description, values }) => {
        const value = values === null
          ? ""
          : values.length === 0
          ? " -r"
          : ` -x -a ${quoted(values.join(" "))}`;
        return `${at} -l ${long.slice(2)}${value} -d ${quoted(description)}`;
      }),
    ];
  });
  return `${HEAD}
function __viola_at
  set -l place
  for word in (commandline -opc)[2..-1]
    set -l longer (string trim -- "$place $word")
    if contains -- "$longer" ${paths(places).map(quoted).join(" ")}
      set place "$longer"
    end
  end
  test "$place" = "$argv"
end
${lines.join("\n")}
`;
}
