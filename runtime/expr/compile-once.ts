/**
 * Work on the constants of a plan (UTF-8, hash sets, patterns) is done once per plan and not once per chunk. Plans are
 * plain data that pass by reference inside a process, so what is made of a node is kept beside it for as long as it lives.
 */
export function compileOnce<N extends object, T>(compile: (node: N) => T): (node: N) => T {
  const compiled = new WeakMap<N, T>();
  return (node) => {
    let made = compiled.get(node);
    if (made === undefined) {
      made = compile(node);
      compiled.set(node, made);
    }
    return made;
  };
}
