import { discoveryContract } from "../contract/discovery.js";
import { FakeDiscovery } from "./discovery.js";

await discoveryContract("fake", async (run) => {
  const discovery = new FakeDiscovery();
  discovery.addresses = ["10.0.0.1"];
  await run({
    discovery,
    tag: "t1",
    startUnit: async (name) => discovery.create(`system.slice/${name}`),
    stopUnit: async (name) => discovery.remove(`system.slice/${name}`),
    createCgroup: async (path) => {
      const parts = path.split("/");
      for (const [index] of parts.entries()) discovery.create(parts.slice(0, index + 1).join("/"));
    },
    startContainer: async (container) =>
      discovery.create(`machine.slice/${container.name}.scope`, { ...container, addresses: ["10.88.0.2"] }),
  });
});
