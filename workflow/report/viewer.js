"use strict";
// One cube in three planes and in 3D. A click on [data-cube] loads NiiVue and the cube's data file.
(() => {
// It uses `one` and `all` of report.js.
const assets = document.body.dataset.assets, PHANTOM = "PHANTOM DATA";
const MARGIN_MM = 12, MOST_FINE_VOXELS = 1.6e6;
const WINDOWS = {
  "lung, as in the pictures (−1000 to 400 HU)": [-1000, 400],
  "lung (−1350 to 150 HU)": [-1350, 150],
  "mediastinum (−160 to 240 HU)": [-160, 240],
  "bone (−450 to 1050 HU)": [-450, 1050],
};
const MAP_COLOURS = { probability: "warm", uncertainty: "viridis", map: "inferno" };
const cubes = new Map();
window.quorumCube = (id, cube) => cubes.set(id, cube);

function loadScript(path) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${assets}/viewer/${path}`;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${path} is not in this report`));
    document.head.append(script);
  });
}
async function loadCube(id) {
  if (!cubes.has(id)) await loadScript(`${id}.js`);
  return cubes.get(id);
}

// A layer's voxels: base64, deflated, bytes shuffled as HDF5 does.
async function unpack(layer) {
  const packed = Uint8Array.from(atob(layer.data), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  if (layer.dtype === "uint8") return bytes;
  const count = bytes.length / 2, voxels = new Int16Array(count);
  for (let i = 0; i < count; i++) voxels[i] = bytes[i] | (bytes[count + i] << 8);
  return voxels;
}

// A NIfTI file in memory. Voxels are (z, y, x), so x runs fastest, as in NIfTI; LPS becomes RAS.
function nifti(voxels, cube, factor = 1) {
  const types = { Int16Array: [4, 16], Uint8Array: [2, 8], Float32Array: [16, 32] };
  const isColour = voxels.length === 4 * cube.shape.reduce((a, b) => a * b) * factor ** 3;
  const [type, bits] = isColour ? [2304, 32] : types[voxels.constructor.name];
  const file = new ArrayBuffer(352 + voxels.byteLength), head = new DataView(file);
  const spacing = cube.spacing_mm / factor, sizes = [...cube.shape].reverse();
  head.setInt32(0, 348, true);
  [3, ...sizes.map((size) => size * factor), 1, 1, 1, 1].forEach((v, k) => head.setInt16(40 + 2 * k, v, true));
  head.setInt16(70, type, true);
  head.setInt16(72, bits, true);
  [1, spacing, spacing, spacing].forEach((v, k) => head.setFloat32(76 + 4 * k, v, true));
  head.setFloat32(108, 352, true);
  head.setFloat32(112, 1, true);
  head.setInt16(254, 1, true);
  // The finer grid's first voxel lies further out.
  const shift = (spacing - cube.spacing_mm) / 2;
  for (let row = 0; row < 3; row++) {
    const sign = row < 2 ? -1 : 1, unit = cube.direction.slice(3 * row, 3 * row + 3);
    const origin = cube.origin_lps_mm[row] + shift * (unit[0] + unit[1] + unit[2]);
    [...unit.map((u) => u * spacing), origin].forEach((v, k) => head.setFloat32(280 + 16 * row + 4 * k, sign * v, true));
  }
  [0x6e, 0x2b, 0x31, 0].forEach((v, k) => head.setUint8(344 + k, v));
  new Uint8Array(file, 352).set(new Uint8Array(voxels.buffer, voxels.byteOffset, voxels.byteLength));
  return file;
}

// Linear interpolation to a finer grid along one axis: [before, length, after].
function finer(values, before, length, after, factor) {
  const out = new values.constructor(values.length * factor);
  for (let b = 0; b < before; b++) for (let k = 0; k < length * factor; k++) {
    const place = Math.min(Math.max((k + 0.5) / factor - 0.5, 0), length - 1), low = Math.floor(place);
    const share = place - low, from = (b * length + low) * after;
    const next = low < length - 1 ? from + after : from, to = (b * length * factor + k) * after;
    for (let a = 0; a < after; a++) out[to + a] = (1 - share) * values[from + a] + share * values[next + a];
  }
  return out;
}
function finerVolume(values, { shape: [z, y, x], factor }) {
  let out = finer(values, z * y, x, 1, factor);
  out = finer(out, z, y, factor * x, factor);
  return finer(out, 1, z, factor * factor * x * y, factor);
}
// Where a mask ends, on the finer grid: indices of its outermost voxels.
function shell(mask, part) {
  const fine = finerVolume(Float32Array.from(mask), part), [z, y, x] = part.shape.map((n) => n * part.factor);
  const steps = [[1, x, (i) => i % x], [x, y, (i) => Math.floor(i / x) % y], [x * y, z, (i) => Math.floor(i / (x * y))]];
  const found = [];
  for (let i = 0; i < fine.length; i++) {
    if (fine[i] < 0.5) continue;
    const isRim = steps.some(([step, size, place]) =>
      (place(i) > 0 && fine[i - step] < 0.5) || (place(i) < size - 1 && fine[i + step] < 0.5));
    if (isRim) found.push(i);
  }
  return Int32Array.from(found);
}

// The part of the cube that is drawn: around everything outlined, or all of it.
function choosePart(cube, outlined, isWhole) {
  const [, y, x] = cube.shape;
  const along = [(i) => Math.floor(i / (x * y)), (i) => Math.floor(i / x) % y, (i) => i % x];
  const low = [...cube.shape], high = [0, 0, 0];
  outlined.forEach((inside, i) => {
    if (inside) along.forEach((place, k) => { low[k] = Math.min(low[k], place(i)); high[k] = Math.max(high[k], place(i) + 1); });
  });
  const margin = Math.round(MARGIN_MM / cube.spacing_mm), isEmpty = high[0] === 0;
  const start = low.map((v) => (isWhole || isEmpty ? 0 : Math.max(v - margin, 0)));
  const stop = high.map((v, k) => (isWhole || isEmpty ? cube.shape[k] : Math.min(v + margin, cube.shape[k])));
  const shape = stop.map((v, k) => v - start[k]), count = shape.reduce((a, b) => a * b);
  const factor = [4, 3, 2].find((f) => count * f ** 3 <= MOST_FINE_VOXELS) ?? 2;
  const origin_lps_mm = cube.origin_lps_mm.map((v, row) => v + cube.spacing_mm *
    [2, 1, 0].reduce((sum, axis) => sum + cube.direction[3 * row + 2 - axis] * start[axis], 0));
  return { ...cube, shape, start, factor, origin_lps_mm };
}
function cut(voxels, cube, { shape: [z, y, x], start: [z0, y0, x0] }) {
  const out = new voxels.constructor(z * y * x), [, rows, columns] = cube.shape;
  for (let k = 0; k < z; k++) for (let j = 0; j < y; j++) {
    const from = ((z0 + k) * rows + y0 + j) * columns + x0;
    out.set(voxels.subarray(from, from + x), (k * y + j) * x);
  }
  return out;
}

function toneOf(className) {
  const probe = document.createElement("i");
  probe.className = className;
  document.body.append(probe);
  const tone = getComputedStyle(probe).getPropertyValue("--tone").trim();
  probe.remove();
  return tone;
}
const channels = (tone) => [1, 3, 5].map((k) => parseInt(tone.slice(k, k + 2), 16));

// Everything that can be drawn of a cube: image, outlines (class, label, rim), maps (values).
async function prepare(cube, isWhole) {
  const found = {};
  for (const layer of cube.layers) (found[layer.kind] ??= []).push({ ...layer, voxels: await unpack(layer) });
  const part = choosePart(cube, found.readers[0].voxels, isWhole), outlines = [], maps = [];
  const add = (className, label, mask, isOn = true) =>
    outlines.push({ className, label, rim: shell(cut(mask, cube, part), part), tone: toneOf(className), isOn });
  for (let k = 0; k < cube.num_readers; k++)
    add(`reader${k + 1}`, `reader ${k + 1}`, found.readers[0].voxels.map((byte) => (byte >> k) & 1));
  add("consensus", "consensus", found.consensus[0].voxels);
  for (const layer of found.latent ?? []) add("latent", layer.label, layer.voxels, false);
  for (const layer of found.model ?? []) add(layer.tone, layer.label, layer.voxels, layer.is_shown);
  const share = (layer) => Float32Array.from(cut(layer.voxels, cube, part), (v) => v / cube.levels);
  const bits = (p) => (p > 0 && p < 1 ? -p * Math.log2(p) - (1 - p) * Math.log2(1 - p) : 0);
  for (const layer of found.probability ?? []) {
    maps.push({ kind: "probability", label: layer.label, values: share(layer) });
    const label = layer.label.replace("probability", "uncertainty (entropy, bits)");
    maps.push({ kind: "uncertainty", label, values: share(layer).map(bits) });
  }
  for (const layer of found.map ?? []) maps.push({ kind: "map", label: layer.label, values: share(layer) });
  return { part, outlines, maps, image: cut(found.image[0].voxels, cube, part) };
}

// The outlines that are switched on, as one coloured volume; those listed last lie on top.
function paint(outlines, part) {
  const rgba = new Uint8Array(4 * part.factor ** 3 * part.shape.reduce((a, b) => a * b));
  for (const outline of outlines.filter((one) => one.isOn)) {
    const [red, green, blue] = channels(outline.tone);
    for (const i of outline.rim) rgba.set([red, green, blue, 255], 4 * i);
  }
  return rgba;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
function checkbox(label, isOn, className, onchange) {
  const box = element("input", { type: "checkbox", checked: isOn });
  box.addEventListener("change", () => onchange(box.checked));
  return element("label", { className }, box, ...(className ? [element("i")] : []), label);
}
function choice(label, names, onchange) {
  const list = element("select", {}, ...names.map((name) => element("option", { value: name }, name)));
  list.addEventListener("change", () => onchange(list.value));
  return element("label", {}, label, list);
}
function group(title, ...children) {
  return element("fieldset", {}, element("legend", {}, title), ...children);
}

async function draw(id, stage, aside, isWhole) {
  const again = (isOn) => display(id, isOn);
  const [cube] = await Promise.all([loadCube(id), window.niivue ?? loadScript("niivue.umd.js")]);
  const { part, image, outlines, maps } = await prepare(cube, isWhole);
  const canvas = element("canvas", { tabIndex: 0 });
  canvas.setAttribute("aria-label", `Nodule ${id} in three planes and in 3D; the sliders move the planes`);
  stage.replaceChildren(canvas, element("output"));
  const { Niivue, NVImage, SHOW_RENDER } = window.niivue;
  const nv = new Niivue({
    backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 0.5], crosshairWidth: 0.4, crosshairGap: 6, dragAndDropEnabled: false, isColorbar: false,
    multiplanarShowRender: SHOW_RENDER.ALWAYS, isRadiologicalConvention: true, logLevel: "error", show3Dcrosshair: true,
  });
  await nv.attachToCanvas(canvas);
  if (!nv.gl) throw new Error("this browser draws no WebGL 2");
  nv.setMultiplanarLayout(2);
  // Loaded together: NiiVue draws everything anew with each volume that it is given.
  const volume = async (voxels, name, choices, factor = 1) =>
    nv.volumes.push(await NVImage.loadFromUrl({ url: nifti(voxels, part, factor), name: `${name}.nii`, ...choices }));
  await volume(finerVolume(image, part), "image", { colormap: "gray", cal_min: -1000, cal_max: 400 }, part.factor);
  for (const [k, map] of maps.entries())
    map.place = await volume(map.values, `map${k}`, { colormap: MAP_COLOURS[map.kind], opacity: 0, cal_min: 0.05, cal_max: 1 }) - 1;
  const rims = await volume(paint(outlines, part), "outlines", { opacity: 1 }, part.factor) - 1;
  nv.addVolume(nv.volumes.pop());
  const repaint = () => { nv.volumes[rims].img = paint(outlines, part); nv.updateGLVolume(); };
  aside.replaceChildren(...controls(nv, { part, outlines, maps, repaint, isWhole, again }, aside));
  nv.onLocationChange = (place) => tell(place.mm, stage, aside, { part, image });
  centre(outlines, part, aside);
}

// Where the planes cross: voxels of the cube (z, y, x) to NiiVue's mm (right, front, head) and back.
function toRas({ origin_lps_mm: origin, direction: d, spacing_mm: mm }, [z, y, x]) {
  return [0, 1, 2].map((row) => {
    const lps = origin[row] + mm * (d[3 * row] * x + d[3 * row + 1] * y + d[3 * row + 2] * z);
    return row < 2 ? -lps : lps;
  });
}
function toIndex({ origin_lps_mm: origin, direction: d, spacing_mm: mm, shape }, ras) {
  const off = [0, 1, 2].map((row) => (row < 2 ? -ras[row] : ras[row]) - origin[row]);
  return [2, 1, 0].map((column, axis) => {
    const place = Math.round((d[column] * off[0] + d[3 + column] * off[1] + d[6 + column] * off[2]) / mm);
    return Math.min(Math.max(place, 0), shape[axis] - 1);
  });
}
const sliders = (aside) => all("input[data-axis]", aside);
function tell(ras, stage, aside, { part, image }) {
  const own = toIndex(part, ras), hu = image[(own[0] * part.shape[1] + own[1]) * part.shape[2] + own[2]];
  const [z, y, x] = own.map((v, k) => v + part.start[k]);
  sliders(aside).forEach((slider, k) => {
    slider.value = [z, y, x][k] + 1;
    slider.nextElementSibling.textContent = slider.value;
  });
  one("output", stage).textContent = `slice ${z + 1}, row ${y + 1}, column ${x + 1}: ${hu} HU`;
}
function moveTo(nv, part, aside) {
  const place = sliders(aside).map((slider, k) => slider.value - 1 - part.start[k]);
  nv.scene.crosshairPos = nv.mm2frac(toRas(part, place));
  nv.createOnLocationChange();
  nv.drawScene();
}

// Planes through the middle of the consensus.
function centre(outlines, part, aside) {
  const { rim } = outlines.find((outline) => outline.className === "consensus");
  const [, y, x] = part.shape.map((n) => n * part.factor);
  const along = [(i) => Math.floor(i / (x * y)), (i) => Math.floor(i / x) % y, (i) => i % x];
  sliders(aside).forEach((slider, k) => {
    const places = Array.from(rim, along[k]).sort((a, b) => a - b);
    const middle = rim.length ? (places[0] + places.at(-1) + 1) / 2 / part.factor : part.shape[k] / 2;
    slider.value = part.start[k] + Math.floor(middle) + 1;
  });
  sliders(aside)[0].dispatchEvent(new Event("input"));
}

function controls(nv, { part, outlines, maps, repaint, isWhole, again }, aside) {
  const planes = { "three planes and 3D": nv.sliceTypeMultiplanar, "3D": nv.sliceTypeRender,
    axial: nv.sliceTypeAxial, coronal: nv.sliceTypeCoronal, sagittal: nv.sliceTypeSagittal };
  const parts = [group("view",
    choice("show", Object.keys(planes), (name) => nv.setSliceType(planes[name])),
    checkbox("whole cube", isWhole, "", (isOn) => again(isOn)),
    choice("window", Object.keys(WINDOWS), (name) => {
      [nv.volumes[0].cal_min, nv.volumes[0].cal_max] = WINDOWS[name];
      nv.updateGLVolume();
    }),
    checkbox("cut the 3D view open", false, "", (isOn) => nv.setClipPlane([isOn ? 0 : 2, 270, 0])))];
  parts.push(group("planes", ...["slice", "row", "column"].map((name, axis) => {
    const slider = element("input", { type: "range", min: part.start[axis] + 1, max: part.start[axis] + part.shape[axis], step: 1 });
    slider.dataset.axis = axis;
    slider.addEventListener("input", () => moveTo(nv, part, aside));
    return element("label", {}, name, slider, element("output"));
  })));
  parts.push(group("outlines", ...outlines.map((outline) =>
    checkbox(outline.label, outline.isOn, outline.className, (isOn) => { outline.isOn = isOn; repaint(); }))));
  if (maps.length) parts.push(group("maps", ...maps.map((map) =>
    checkbox(map.label, false, "", (isOn) => nv.setOpacity(map.place, isOn ? 0.6 : 0)))));
  return parts;
}

function release(stage) {
  one("canvas", stage)?.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
  stage.replaceChildren();
}
// The dialog: one cube at a time; closing it gives the graphics memory back.
let dialog;
function makeDialog() {
  const button = element("button", { type: "button" }, "Close");
  const title = element("span", { className: "note" }), stage = element("div", { className: "stage" });
  const aside = element("aside");
  dialog = element("dialog", { className: "viewer" },
    element("div", { className: "close" }, title, button),
    element("div", { className: "bench" }, stage, aside));
  button.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    release(stage);
  });
  document.body.append(dialog);
}
async function display(id, isWhole) {
  const [title, stage, aside] = [".note", ".stage", "aside"].map((query) => one(query, dialog));
  delete dialog.dataset.shown;
  release(stage);
  stage.replaceChildren(element("output", {}, "loading"));
  aside.replaceChildren();
  try {
    await draw(id, stage, aside, isWhole);
    const isPhantom = cubes.get(id).data_kind === "phantom";
    title.replaceChildren(`${id}. Drag or scroll to move; right drag for brightness; Esc closes. `,
      ...(isPhantom ? [element("strong", { className: "phantom" }, PHANTOM)] : []));
    dialog.dataset.shown = id;
  } catch (error) {
    stage.replaceChildren(element("output", {}, `The cube can't be shown: ${error.message}.`));
  }
}
function open(id) {
  if (!dialog) makeDialog();
  dialog.setAttribute("aria-label", `the cube of nodule ${id}`);
  dialog.showModal();
  return display(id, false);
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-cube]");
  if (button) open(button.dataset.cube);
});
})();
