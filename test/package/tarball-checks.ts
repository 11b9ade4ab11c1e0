/** Everything that a user needs, and nothing else. */
const PUBLISHED = /^(package\.json|README\.md|LICENSE|NOTICE|CHANGELOG\.md|\.jsii|\.jsii\.tabl\.json\.gz|lib\/.+\.(js|d\.ts)|starter\/.+)$/;
const NEEDED = ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', '.jsii', 'lib/index.js', 'lib/index.d.ts'];
/** Of the starter, what a run leaves behind. */
const LEFT_BEHIND = /(^|\/)(node_modules|cdk\.out|package-lock\.json)(\/|$)/;

/** Fields that are about this repository, or that change what npm does for the user. */
const OF_THE_REPOSITORY = ['workspaces', 'overrides', 'allowScripts', 'devEngines', 'devDependencies', 'scripts', 'private', 'jest', 'files'];
const FOR_THE_REGISTRY = ['name', 'version', 'description', 'license', 'repository', 'homepage', 'bugs', 'keywords', 'peerDependencies', 'jsii', 'main', 'types'];

/** Problems of what is in the tarball; each is a sentence. Files are relative to its root and have slashes. */
export function problemsOfTarball(files: string[], manifest: { [field: string]: unknown }): string[] {
  return [
    ...files.filter(file => !PUBLISHED.test(file) || LEFT_BEHIND.test(file)).map(file => `${file} is not for users`),
    ...NEEDED.filter(file => !files.includes(file)).map(file => `${file} is missing`),
    ...OF_THE_REPOSITORY.filter(field => field in manifest).map(field => `package.json has ${field}, which is only for the repository`),
    ...FOR_THE_REGISTRY.filter(field => !(field in manifest)).map(field => `package.json has no ${field}`),
  ];
}
