import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as ts from 'typescript';
import { root, text } from './markdown';

const PREFIX = 'cdk-order-pipeline:';

/** The ids of all messages of the library. */
export function warningIds(): string[] {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  return [...new Set(files.flatMap((file) => idsOf(`src/${file}`)))].sort();
}

function idsOf(file: string): string[] {
  if (!text(file).includes(PREFIX)) { return []; }
  const source = ts.createSourceFile(file, text(file), ts.ScriptTarget.Latest, true);
  const ids: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isTemplateExpression(node) && node.head.text.endsWith(PREFIX)) {
      // `…:${id}Suffix`, where id is a parameter of the function around it: each of its calls says a value.
      const [span] = node.templateSpans;
      ids.push(...valuesOf(source, span!.expression).map((value) => value + /^\w*/.exec(span!.literal.text)![0]));
    } else if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddle(node) || ts.isTemplateTail(node)) {
      ids.push(...node.text.match(/(?<=cdk-order-pipeline:)\w+/g) ?? []);
    }
    node.forEachChild(visit);
  };
  visit(source);
  return ids;
}

function valuesOf(source: ts.SourceFile, expression: ts.Expression): string[] {
  const parameter = expression.getText();
  let around: ts.Node = expression;
  while (!(ts.isFunctionLike(around) && around.parameters.some(({ name }) => name.getText() === parameter))) {
    around = around.parent;
    if (!around) { throw new Error(`${source.fileName}: '${parameter}' in the id of a warning is no parameter`); }
  }
  const declared = ts.isArrowFunction(around) ? around.parent as ts.VariableDeclaration : around;
  const index = around.parameters.findIndex(({ name }) => name.getText() === parameter);
  const values: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.getText().replace(/^this\./, '') === declared.name!.getText()) {
      const argument = node.arguments[index]!;
      if (!ts.isStringLiteralLike(argument)) { throw new Error(`${source.fileName}: the id of a warning isn't known from ${node.getText()}`); }
      values.push(argument.text);
    }
    node.forEachChild(visit);
  };
  visit(source);
  return values;
}
